/* What \p{...} names: categories from utf8proc, a few scripts by their blocks. */
#include <utf8proc.h>

#include "grammar/regex/code_points.h"

struct category {
    const char *name, *long_name;
    uint32_t mask; /* of utf8proc_category_t */
};

#define BIT(c) (1u << UTF8PROC_CATEGORY_##c)

static const struct category categories[] = {
    {"L", "Letter", BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO)},
    {"LC", "Cased_Letter", BIT(LU) | BIT(LL) | BIT(LT)},
    {"Lu", "Uppercase_Letter", BIT(LU)},
    {"Ll", "Lowercase_Letter", BIT(LL)},
    {"Lt", "Titlecase_Letter", BIT(LT)},
    {"Lm", "Modifier_Letter", BIT(LM)},
    {"Lo", "Other_Letter", BIT(LO)},
    {"M", "Mark", BIT(MN) | BIT(MC) | BIT(ME)},
    {"Mn", "Nonspacing_Mark", BIT(MN)},
    {"Mc", "Spacing_Mark", BIT(MC)},
    {"Me", "Enclosing_Mark", BIT(ME)},
    {"N", "Number", BIT(ND) | BIT(NL) | BIT(NO)},
    {"Nd", "Decimal_Number", BIT(ND)},
    {"Nd", "digit", BIT(ND)},
    {"Nl", "Letter_Number", BIT(NL)},
    {"No", "Other_Number", BIT(NO)},
    {"P", "Punctuation", BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO)},
    {"Pc", "Connector_Punctuation", BIT(PC)},
    {"Pd", "Dash_Punctuation", BIT(PD)},
    {"Ps", "Open_Punctuation", BIT(PS)},
    {"Pe", "Close_Punctuation", BIT(PE)},
    {"Pi", "Initial_Punctuation", BIT(PI)},
    {"Pf", "Final_Punctuation", BIT(PF)},
    {"Po", "Other_Punctuation", BIT(PO)},
    {"S", "Symbol", BIT(SM) | BIT(SC) | BIT(SK) | BIT(SO)},
    {"Sm", "Math_Symbol", BIT(SM)},
    {"Sc", "Currency_Symbol", BIT(SC)},
    {"Sk", "Modifier_Symbol", BIT(SK)},
    {"So", "Other_Symbol", BIT(SO)},
    {"Z", "Separator", BIT(ZS) | BIT(ZL) | BIT(ZP)},
    {"Zs", "Space_Separator", BIT(ZS)},
    {"Zl", "Line_Separator", BIT(ZL)},
    {"Zp", "Paragraph_Separator", BIT(ZP)},
    {"C", "Other", BIT(CC) | BIT(CF) | BIT(CO) | BIT(CN)},
    {"Cc", "Control", BIT(CC)},
    {"Cf", "Format", BIT(CF)},
    {"Co", "Private_Use", BIT(CO)},
    {"Cn", "Unassigned", BIT(CN)},
};

/* Letters of the script, block by block (no punctuation, which Unicode counts as Common). */
static const struct script {
    const char *name, *short_name;
    struct cp_range ranges[12];
} scripts[] = {
    {"Latin",
     "Latn",
     {{0x41, 0x5A},
      {0x61, 0x7A},
      {0xAA, 0xAA},
      {0xBA, 0xBA},
      {0xC0, 0xD6},
      {0xD8, 0xF6},
      {0xF8, 0x2B8},
      {0x1E00, 0x1EFF},
      {0x2C60, 0x2C7F},
      {0xA722, 0xA787},
      {0xFF21, 0xFF3A},
      {0xFF41, 0xFF5A}}},
    {"Greek",
     "Grek",
     {{0x370, 0x373},
      {0x375, 0x377},
      {0x37A, 0x37D},
      {0x37F, 0x37F},
      {0x384, 0x384},
      {0x386, 0x386},
      {0x388, 0x3E1},
      {0x3F0, 0x3FF},
      {0x1F00, 0x1FFE}}},
    {"Cyrillic",
     "Cyrl",
     {{0x400, 0x484}, {0x487, 0x52F}, {0x1C80, 0x1C88}, {0x2DE0, 0x2DFF}, {0xA640, 0xA69F}}},
    {"Hebrew", "Hebr", {{0x591, 0x5C7}, {0x5D0, 0x5EA}, {0x5EF, 0x5F4}, {0xFB1D, 0xFB4F}}},
    {"Arabic",
     "Arab",
     {{0x600, 0x604},
      {0x606, 0x60B},
      {0x60D, 0x61A},
      {0x61C, 0x61E},
      {0x620, 0x63F},
      {0x641, 0x64A},
      {0x656, 0x66F},
      {0x671, 0x6DC},
      {0x6DE, 0x6FF},
      {0x750, 0x77F}}},
    {"Devanagari", "Deva", {{0x900, 0x950}, {0x955, 0x963}, {0x966, 0x97F}, {0xA8E0, 0xA8FF}}},
    {"Thai", "Thai", {{0xE01, 0xE3A}, {0xE40, 0xE5B}}},
    {"Hangul", "Hang", {{0x1100, 0x11FF}, {0x3131, 0x318E}, {0xA960, 0xA97C}, {0xAC00, 0xD7A3}}},
    {"Hiragana", "Hira", {{0x3041, 0x3096}, {0x309D, 0x309F}}},
    {"Katakana",
     "Kana",
     {{0x30A1, 0x30FA}, {0x30FD, 0x30FF}, {0x31F0, 0x31FF}, {0xFF66, 0xFF6F}, {0xFF71, 0xFF9D}}},
    {"Han",
     "Hani",
     {{0x2E80, 0x2E99},
      {0x2E9B, 0x2EF3},
      {0x2F00, 0x2FD5},
      {0x3005, 0x3005},
      {0x3007, 0x3007},
      {0x3021, 0x3029},
      {0x3038, 0x303B},
      {0x3400, 0x4DBF},
      {0x4E00, 0x9FFF},
      {0xF900, 0xFAD9},
      {0x20000, 0x323AF}}},
};

static void add_categories(struct cp_set *s, uint32_t mask) {
    for (int32_t c = 0; c <= CODE_POINT_MAX; c++)
        if (mask >> utf8proc_category(c) & 1)
            cp_set_add(s, c, c);
}

static void add_list(struct cp_set *s, const struct cp_range *ranges, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (ranges[i].hi)
            cp_set_add(s, ranges[i].lo, ranges[i].hi);
}

static bool add_script(struct cp_set *s, struct str name) {
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        if (str_is(name, scripts[i].name) || str_is(name, scripts[i].short_name)) {
            add_list(s, scripts[i].ranges, sizeof scripts[i].ranges / sizeof *scripts[i].ranges);
            return true;
        }
    }
    return false;
}

static bool add_category(struct cp_set *s, struct str name) {
    for (size_t i = 0; i < sizeof categories / sizeof *categories; i++) {
        if (str_is(name, categories[i].name) || str_is(name, categories[i].long_name)) {
            add_categories(s, categories[i].mask);
            return true;
        }
    }
    return false;
}

static bool cut_prefix(struct str *name, const char *prefix) {
    struct str p = str_from(prefix);
    if (!str_starts_with(*name, p))
        return false;
    *name = (struct str){name->ptr + p.len, name->len - p.len};
    return true;
}

static bool add_binary(struct cp_set *s, struct str name) {
    static const struct cp_range white_space[] = {
        {0x09, 0x0D},     {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},     {0x1680, 0x1680},
        {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
    if (str_is(name, "Any"))
        cp_set_add(s, 0, CODE_POINT_MAX);
    else if (str_is(name, "ASCII"))
        cp_set_add(s, 0, 0x7F);
    else if (str_is(name, "White_Space") || str_is(name, "space"))
        add_list(s, white_space, sizeof white_space / sizeof *white_space);
    else if (str_is(name, "Alphabetic") || str_is(name, "Alpha"))
        add_categories(s, BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO) | BIT(NL));
    else if (str_is(name, "Uppercase") || str_is(name, "Upper"))
        add_categories(s, BIT(LU));
    else if (str_is(name, "Lowercase") || str_is(name, "Lower"))
        add_categories(s, BIT(LL));
    else
        return false;
    return true;
}

bool cp_set_add_property(struct cp_set *s, struct str name) {
    if (cut_prefix(&name, "Script=") || cut_prefix(&name, "sc=") ||
        cut_prefix(&name, "Script_Extensions=") || cut_prefix(&name, "scx="))
        return add_script(s, name);
    if (cut_prefix(&name, "General_Category=") || cut_prefix(&name, "gc="))
        return add_category(s, name);
    return add_category(s, name) || add_binary(s, name) || add_script(s, name);
}
