"""The small templates of make_chat.py: (name, [templates], variables)."""

M = [{"role": "system", "content": "Be  brief.\n"},
     {"role": "user", "content": "Hi <b>'you'</b> & \"me\""},
     {"role": "assistant", "content": None,
      "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"a": 1, "b": [True, None, 2.5]}}}]},
     {"role": "tool", "content": "é 日本 😀 \u2028"}]

VALUES = {
    "messages": M, "n": 7, "zero": 0, "neg": -7, "big": 9007199254740993, "f": 2.5, "g": 1e16, "h": 1e-7,
    "s": "Hello, World", "u": "straße ÀÉ ǆ ΟΔΟΣ İ ﬁ", "ws": " \t x \n y\u00a0", "empty": "", "yes": True,
    "no": False, "nothing": None, "l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "el": [], "ed": {},
    "d": {"b": 1, "a": [1, 2], "items": "I", "c d": None}, "nested": {"x": {"y": [{"z": "deep"}]}},
    "people": [{"name": "Bo", "age": 3, "on": True}, {"name": "al", "age": 1, "on": False},
               {"name": "Cy", "age": 3}],
    "pairs": [["k", 1], ["j", 2]], "quotes": "it's \"q\" \\ \n\t\x07\x7f\u200b", "mix": [1, "a", None, 2.0, True],
}

EXPRESSIONS = {
    "printing": ["yes", "no", "nothing", "n", "neg", "f", "g", "h", "1.0", "100000.0", "1e300", "-0.0", "1e16", "1e15",
                 "0.1 + 0.2", "[1, 'a', none, 1.5, true]", "(1,)", "()", "(1, 2)", "{}", "{'a': 1, 2: 'b', none: []}",
                 "quotes", "[quotes]", "d", "missing", "[missing]", "d.keys()", "d.values()", "d.items()",
                 "range(3)", "range(1, 9, 3)", "namespace(a=1)", "[u]", "'%s' % [quotes]", "mix", "l|list"],
    "arithmetic": ["1 + 2", "7 // 2", "-7 // 2", "7 % 3", "-7 % 3", "7 % -3", "7 / 2", "2 ** 10", "2 ** -1", "-2 ** 2",
                   "2 ** 3 ** 2", "7.5 // 2", "-7.5 // 2", "-7.5 % 2", "7.5 % -2", "1e308 * 10", "-(3)", "+3", "- 3 + 5",
                   "true + 1", "1 - true", "'a' * 3", "3 * 'ab'", "[1] * 2", "[1] + [2]", "(1,) + (2,)", "'a' + 'b'",
                   "'a' ~ 1 ~ none ~ 1.5 ~ [1]", "2 * 3 ~ 4", "10 - 2 - 3", "0x1F", "0b101", "0o17", "1_000",
                   "1_0.5_0", "1e3", "1 / 3", "big * 3", "4 % 2.5", "0.0 % 3", "-0.0 // 1", "2 ** 62", "-1 ** 2",
                   "7 // 0.3", "1.5 ** 2", "0 ** 0"],
    "comparison": ["1 < 2", "1 < 2 < 3", "3 > 2 > 2", "1 == 1.0", "true == 1", "'a' < 'b'", "'a' == 'a' == 'a'",
                   "[1, 2] < [1, 3]", "[1] == [1.0]", "(1,) == [1]", "none == none", "missing == missing", "missing == none",
                   "1 != 2", "'é' > 'z'", "'Z' < 'a'", "1 in [1, 2]", "4 not in l", "'ell' in s", "'x' not in s", "'b' in d",
                   "1 in d", "2 in (1, 2)", "3 in range(5)", "'a' in d.keys()", "none in [none]", "not 1 == 2", "not not yes",
                   "{'a': 1} == {'a': 1.0}", "{'a': 1, 'b': 2} == {'b': 2, 'a': 1}", "9007199254740993 == 9007199254740992.0",
                   "big > 9007199254740992.0", "1 < 1.5", "range(3) == range(0, 3, 1)", "'a' in 'abc' in ['abc']",
                   "'' in ''", "1 >= 1", "2 <= 1", "missing in [1]", "'a' in missing"],
    "logic": ["yes and n", "no and n", "no or 'x'", "'' or none", "n and ''", "not n", "not missing", "yes or missing.x",
              "no and missing.x", "1 if yes else 2", "1 if no else 2", "1 if no", "'a' if 0 else 'b' if 0 else 'c'",
              "(1 if no) is defined", "not yes or yes", "yes if yes and not no else no", "1 or 0 and 0",
              "l and 'full' or 'empty'", "el or 'empty'"],
    "access": ["d.b", "d['b']", "d.a[0]", "d['a'][-1]", "d['items']", "d.missing", "d['missing']", "nested.x.y[0].z",
               "nested['x']['y'][0]['z']", "l.0", "l[1]", "l[-3]", "l[5]", "s[0]", "s[-1]", "s[99]", "s['upper']()", "messages[0].role",
               "messages[-1]['content']", "d['c d']", "messages[2].tool_calls[0].function.arguments.b[2]", "u[1]", "d.get('b')",
               "d.get('zz')", "d.get('zz', 5)", "d.get('b', 5)", "l['x']", "n.x", "l[true]", "people[0]['name'].lower()",
               "d.update is defined", "l.append is defined", "d.clear", "namespace(a=1).a", "namespace(a=1)['a']", "namespace(a=1).b",
               "d.keys()|list", "d.values()|list", "d.items()|list", "d.copy() == d", "range(5)[1]", "range(9)[1:7:2]", "range(10)[::-1]", "range(3)[5::10]", "('<a>'|safe)|list", "('<a>'|safe)[0]", "(5|map('upper')) is defined", "[1, 'a']|map('abs')|first", "l|truncate(9)",
               "(1, 2, 3)[1]", "{1: 'one'}[1]", "{true: 'x'}[1]", "s[1:3].upper()[0]"],
    "slices": ["l[:]", "l[1:]", "l[:1]", "l[-2:]", "l[::-1]", "l[::2]", "l[2:0:-1]", "l[5:]", "l[:-1]", "s[7:]", "s[:5]", "s[::-1]",
               "s[-3:]", "s[::3]", "s[10:2:-2]", "u[::-1]", "u[1:4]", "(1, 2, 3)[1:]", "messages[1:]|length", "s[:none]", "l[0:2:none]",
               "l[99:0:-1]", "l[-99:99]", "''[::-1]", "s[3:3]", "el[::-1]"],
    "literals": ["'a' 'b'", '"x\\ny"', "'\\'q\\''", "'\\u00e9\\x41\\101'", "'\\q'", "'tab\\t|'", "'\\\\'", "'a\\\nb'", "[1, 2,]", "{'a': 1,}", "(1, 2,)",
                 "True, False, None", "true is true", "[[1], [2, [3]]]", "{'a': {'b': [1]}}", "'\\U0001F600'", "'\\é'", "'{{ }}'", "'%}'", "1.5e3", "1E5", "0",
                 "'\\0|'", "'\\a\\b\\f\\v'|tojson"],
    "text filters": ["s|upper", "s|lower", "u|upper", "u|lower", "u|title", "u|capitalize", "s|title", "'hello wORLD-foo (bar) [baz] {x}'|title", "s|capitalize",
                     "ws|trim", "'xxhixx'|trim('x')", "s|trim('Hd')", "s|replace('l', 'L')", "s|replace('l', 'L', 1)", "s|replace('', '-')", "n|replace(7, 8)", "s|length", "u|length",
                     "s|reverse", "'a b  c'|wordcount", "s|center(20)", "s|center(21) ~ '|'", "'a\nb\n\nc'|indent", "'a\nb\n\nc'|indent(2, true)", "'a\nb\n\nc'|indent(2, blank=true)",
                     "'a\nb'|indent('> ')", "'a\n'|indent(2)", "''|indent(2, true)", "'a\\r\\nb'|indent(1)", "s|truncate(8)", "s|truncate(8, true)", "s|truncate(8, true, '..', 0)", "s|truncate(5, false, '', 0)", "s|truncate", "s|urlencode",
                     "'a b/c?é&='|urlencode", "{'a b': 'c/d', 'e': 1}|urlencode", "s|escape", "messages[1].content|e", "messages[1].content|safe|e", "messages[1].content|forceescape", "'<a>'|safe ~ '<b>'",
                     "('<a>'|safe) + '<b>'", "'<b>' + ('<a>'|safe)", "[('<a>'|safe)]", "('<a>'|safe)|upper", "('<%s>'|safe).replace('%s', '<')", "'%s-%s'|format('a', 1)", "'%(x)s'|format(x=5)",
                     "n|string + 'x'", "missing|upper", "missing|trim", "none|string", "none|upper", "5|trim", "'ǆ'|title", "'ﬁ x'|title", "'ß'|upper", "'ΑΣ ΣΑ Σ'|lower", "'İ'|lower|length",
                     "'<a>'|e is escaped", "'a'|safe is escaped", "s is escaped"],
    "list filters": ["l|first", "l|last", "el|first", "el|last", "s|first", "s|last", "d|first", "l|length", "d|length", "d|count", "missing|length", "l|sort", "l|sort(true)", "ls|sort", "ls|sort(case_sensitive=true)",
                     "ls|sort(reverse=true)", "people|sort(attribute='age')|map(attribute='name')|list", "l|sort(attribute='a')", "people|sort(attribute='age,name')|map(attribute='name')|list", "people|sort(attribute='name', reverse=true)|map(attribute='name')|join(' ')",
                     "people|sort(attribute='age', reverse=true)|map(attribute='name')|join(' ')", "l|join(', ')", "ls|join", "people|join(', ', attribute='name')", "mix|join('|')", "s|join('-')", "d|join(',')", "l|list", "s|list", "d|list", "range(4)|list",
                     "l|reverse|list", "'abc'|reverse", "l|min", "l|max", "ls|min", "ls|max", "el|max", "people|max(attribute='age')", "people|min(attribute='age')", "l|sum", "people|sum(attribute='age')", "l|sum(start=10)", "[[1], [2]]|sum(start=[])", "[0.1, 0.2, 0.3]|sum", "el|sum", "ls|unique|list",
                     "[1, 1.0, true, 2]|unique|list", "ls|unique(true)|list", "people|unique(attribute='age')|map(attribute='name')|list", "d|dictsort", "{'b': 1, 'A': 3, 'c': 2}|dictsort", "{'b': 1, 'A': 3, 'c': 2}|dictsort(true)", "{'b': 1, 'A': 3}|dictsort(by='value')",
                     "{'b': 1, 'A': 3}|dictsort(false, 'value', true)", "d|items|list", "missing|items|list", "range(7)|batch(3)|list", "range(7)|batch(3, 'x')|list", "range(7)|slice(3)|list", "range(7)|slice(3, 'x')|list", "range(2)|slice(3, 'x')|list", "ls|map('upper')|list",
                     "people|map(attribute='zz', default='none')|list", "people|map(attribute='zz')|list", "ls|map('replace', 'a', 'X')|list", "[[3, 1], [2]]|map('sort')|map('first')|list", "[1, 2, 3]|select('odd')|list", "[1, 2, 3]|reject('odd')|list", "[0, 1, '', 'a']|select|list",
                     "[0, 1, '', 'a']|reject|list", "[1, 2, 3]|select('gt', 1)|list", "people|selectattr('on')|map(attribute='name')|list", "people|selectattr('age', 'equalto', 3)|map(attribute='name')|list", "people|rejectattr('on', 'defined')|map(attribute='name')|list",
                     "people|selectattr('name', 'in', ['Bo', 'Cy'])|list|length", "messages|selectattr('role', 'equalto', 'user')|first", "messages|selectattr('role', '==', 'user')|list|length", "(messages|selectattr('role', 'eq', 'zzz')) and 'truthy'", "messages|rejectattr('content')|list|length",
                     "people|groupby('age')", "people|groupby('age')|map(attribute='grouper')|list", "people|groupby('age')|map('last')|map('length')|list", "people|groupby('on', default=false)|length", "[{'a': {'b': 2}}, {'a': {'b': 1}}]|map(attribute='a.b')|list", "pairs|map(attribute=1)|list", "pairs|map(attribute='0')|list", "pairs|map('first')|join",
                     "[('a', 1)]|list", "missing|list", "missing|join", "missing|sort", "missing|map('upper')|list", "missing|first", "d.items()|list|first", "(1, 2)|list", "d.keys()|first", "l|map('string')|join('')", "l|first|string"],
    "value filters": ["n|abs", "neg|abs", "-2.5|abs", "'42'|int", "'42.9'|int", "'x'|int", "'x'|int(5)", "'ff'|int(0, 16)", "'0xff'|int(0, 16)", "'1_000'|int", "' 12 '|int", "2.9|int", "-2.9|int", "true|int", "none|int", "none|int(3)", "l|int", "'-5'|int", "'+5'|int", "''|int",
                      "'1e3'|int", "'0b11'|int(0, 2)", "'inf'|int", "'nan'|int(9)", "'1.5'|float", "'x'|float", "'x'|float(2)", "3|float", "' 1e3 '|float", "'inf'|float", "'-inf'|float", "none|float", "true|float", "'1_0.5'|float", "'.5'|float", "'5.'|float", "2.5|round", "3.5|round", "2.675|round(2)", "2.345|round(2)",
                      "42|round", "42.7|round|int", "1234.567|round(-2)", "1255|round(-1)", "1245|round(-1)", "-15|round(-1)", "2.1|round(0, 'ceil')", "2.9|round(0, 'floor')", "2.345|round(2, 'ceil')", "-2.5|round", "0.5|round", "1.5|round", "1e20|round(2)", "true|round", "7|round(1, 'floor')", "missing|default('x')", "missing|d('x')",
                      "none|default('x')", "''|default('x')", "''|default('x', true)", "none|default('x', boolean=true)", "missing|default", "d.zz|default('y')", "0|default(1, true)", "n|default(1)", "d|attr('items') is callable", "d|attr('b')", "d|tojson", "messages|tojson", "quotes|tojson", "u|tojson(ensure_ascii=true)", "messages[3].content|tojson(true)", "d|tojson(indent=2)",
                      "mix|tojson(indent=4)", "d|tojson(sort_keys=true)", "d|tojson(separators=(',', ':'))", "[[], {}, [{}]]|tojson(indent=1)", "l|tojson(indent='--')", "d|tojson(indent=0)", "{1: 2, none: 3, true: 4, 1.5: 5}|tojson", "(1, 2)|tojson", "none|tojson", "1.0|tojson", "1e16|tojson", "(1e308 * 10)|tojson", "'<&>\\''|tojson", "'a'|tojson|length", "d|tojson|safe",
                      "'\u2028'|tojson", "el|tojson", "ed|tojson(indent=2)", "''|tojson", "big|tojson"],
    "tests": ["n is defined", "missing is defined", "missing is not defined", "missing is undefined", "none is none", "n is none", "s is string", "n is string", "('a'|safe) is string", "d is mapping", "l is mapping", "l is sequence", "s is sequence", "d is sequence", "n is sequence", "missing is sequence", "range(2) is sequence",
              "d.keys() is sequence", "l is iterable", "n is iterable", "(l|map('string')) is iterable", "(l|map('string')) is sequence", "n is number", "f is number", "yes is number", "s is number", "n is integer", "yes is integer", "f is float", "n is float", "yes is boolean", "n is boolean", "yes is true", "yes is false", "1 is true", "no is false", "n is odd", "n is even",
              "n is divisibleby 7", "n is divisibleby(3)", "n is eq 7", "n is equalto 7", "n is ne 7", "n is gt 3", "n is greaterthan 3", "n is ge 7", "n is lt 3", "n is le 7", "n is lessthan 9", "n is sameas 7", "none is sameas none", "d is sameas d", "n is in [7]", "'b' is in d", "n is not in [7]", "'upper' is filter", "'zz' is filter", "'odd' is test", "'zz' is test", "s is lower", "'abc' is lower",
              "'ABC' is upper", "'1' is upper", "range is callable", "s.upper is callable", "n is callable", "missing is callable", "n is not none and n is odd", "not n is odd", "n is odd or n is even", "n is odd == true", "(n is odd) == true", "yes is true and 1 == 1", "5 is gt(3) and 2 is lt 3", "[1] is eq [1]", "'a' is eq 'a'", "1 + 1 is eq 2",
              "s is string | string", "messages[2].content is none", "messages[2].content is string"],
    "string methods": ["s.split()", "s.split(',')", "s.split('o', 1)", "' a  b '.split()", "' a  b '.split(' ')", "' a  b c '.split(none, 1)", "' a  b c '.split(maxsplit=1)", "s.split(sep='o')", "'a,b,c'.rsplit(',', 1)", "' a b  c '.rsplit(none, 1)", "' a b '.rsplit()", "''.split()", "''.split(',')", "s.strip('Hd')", "ws.strip()", "ws.lstrip()", "ws.rstrip()", "'xyxay'.strip('xy')", "'xyxay'.lstrip('x')",
                       "s.startswith('Hell')", "s.startswith(('x', 'He'))", "s.endswith('ld')", "s.endswith(('x', 'z'))", "s.startswith('ell', 1)", "s.startswith('')", "s.endswith('W', 0, 8)", "s.replace('l', 'L')", "s.replace('l', 'L', 2)", "'abc'.replace('', '-')", "'abc'.replace('', '-', 2)", "s.upper()", "s.lower()", "u.upper()", "u.lower()", "u.title()", "u.swapcase()", "u.casefold()", "u.capitalize()", "s.title()",
                       "\"they're bill's\".title()", "s.find('o')", "s.find('o', 5)", "s.find('z')", "s.rfind('o')", "s.index('W')", "s.rindex('l')", "s.count('l')", "s.count('')", "s.count('l', 4)", "u.find('É')", "u.find('Σ')", "'-'.join(ls)", "''.join(s)", "', '.join(d)", "'a\nb\r\nc\x0bd\x85e'.splitlines()", "'a\nb\n'.splitlines(true)", "''.splitlines()", "'a'.center(5, '*')", "'ab'.center(5)", "'a'.ljust(3) ~ '|'", "'a'.rjust(3)", "'5'.zfill(3)", "'-5'.zfill(4)",
                       "'a=b=c'.partition('=')", "'a=b=c'.rpartition('=')", "'abc'.partition('x')", "'abc'.rpartition('x')", "'abc'.removeprefix('a')", "'abc'.removesuffix('c')", "'abc'.removeprefix('x')", "'abc'.isalpha()", "'12'.isdigit()", "'²'.isdigit()", "'²'.isdecimal()", "'½'.isnumeric()", "'a1'.isalnum()", "' \t'.isspace()", "''.isspace()", "'A'.isupper()", "'a'.islower()", "'Ab Cd'.istitle()", "'AB'.istitle()", "'x_1'.isidentifier()", "'1x'.isidentifier()",
                       "'a'.isascii()", "'é'.isascii()", "'a\\n'.isprintable()", "'a\tb'.expandtabs(4)", "'{} {}'.format(1, 'x')", "'{0}{1}{0}'.format('a', 'b')", "'{a}-{b}'.format(a=1, b=none)", "'{:>5}|{:<5}|{:^5}|'.format('a', 'b', 'c')", "'{:05d} {:+d} {:x} {:#x} {:b} {:,}'.format(42, 7, 255, 255, 5, 1234567)", "'{:.2f} {:8.3f}|{:e} {:g} {:%}'.format(1.234, 2.5, 12345.678, 0.0001, 0.25)", "'{!r} {!s}'.format('a', 'b')", "'{0.b} {0[a]}'.format(d)", "'{{}}'.format()", "'{:*^9}'.format('mid')",
                       "'{:.3}'.format('abcdef')", "'{}'.format(d)", "'{}'.format(1.5)", "'{:d}'.format(true)"],
    "percent": ["'%s' % 'a'", "'%s %s' % ('a', 1)", "'%d' % 5", "'%d' % 5.9", "'%5d|%-5d|%05d' % (42, 42, 42)", "'%+d % d' % (5, 5)", "'%x %X %o %#x' % (255, 255, 8, 255)", "'%f' % 1.5", "'%.2f' % 2.675", "'%e' % 12345.678", "'%g %g' % (0.00001, 123456789.0)", "'%%'  % ()", "'100%%' % ()", "'%r' % 'a'", "'%s' % none", "'%s' % true", "'%s' % (l,)", "'%s' % l", "'%c%c' % ('a', 98)", "'%(a)s %(b)d' % {'a': 'x', 'b': 2}", "'%.3s|' % 'abcdef'", "'%10s|%-10s|' % ('a', 'b')", "'%*d' % (5, 3)", "'%i' % 3", "'%s' % 1e16",
                "'%5.1f|' % 3.14159", "'%-8.3f|' % 3.14159", "'%08.3f|' % -3.14159", "'%s' % missing", "'%s' % {'a': 1}", "'a' % {}", "'%x' % -255", "'%c' % 233", "'%G' % 1e-10", "'%.0f' % 2.5", "'%.0f' % 3.5", "'%5s' % 'é'"],
    "calls": ["range(0)|list", "range(5, 0, -2)|list", "range(3)|length", "dict(a=1, b=2)", "dict({'a': 1}, b=2)", "dict([['a', 1], ['b', 2]])", "dict()", "namespace(a=1, b='x').b", "strftime_now('%Y-%m-%d %H:%M:%S')", "strftime_now('%d %b %Y')", "strftime_now('%A, %B %-d')", "s.split(*[','])", "s.replace(*('l', 'L'), **{})", "dict(**{'a': 1})", "range(*[1, 4])|list", "l.index(1)", "l.count(3)", "(1, 1, 2).count(1)", "[l, l][0][1:][0]",
              "strftime_now('')", "dict(d, z=1)|length"],
}

STATEMENTS = {
    "if": ["{% if n > 3 %}a{% elif n > 2 %}b{% else %}c{% endif %}", "{% if no %}a{% elif yes %}b{% else %}c{% endif %}", "{% if no %}a{% elif no %}b{% else %}c{% endif %}", "{% if no %}a{% endif %}|", "{% if messages[0].role == 'system' and messages|length > 1 %}S{% endif %}", "{% if missing %}x{% else %}y{% endif %}",
           "{% if yes: %}colon{% endif %}", "{% if no %}{{ x|nofilter }}{% endif %}ok", "{% if 1, %}t{% endif %}"],
    "for": ["{% for x in l %}{{ x }},{% endfor %}", "{% for x in el %}{{ x }}{% else %}none{% endfor %}", "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
            "{% for k in d %}{{ k }} {% endfor %}", "{% for c in 'abé' %}{{ c }}-{% endfor %}", "{% for a, b in pairs %}{{ a }}{{ b }}{% endfor %}", "{% for (a, (b, c)) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for x in l if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }} {% endfor %}", "{% for x in l if x > 9 %}x{% else %}none{% endfor %}", "{% for x in range(3) %}{% for y in range(x) %}{{ loop.index }}{{ x }}{{ y }} {% endfor %}{% endfor %}",
            "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}", "{% for x in l %}{{ loop.cycle('odd', 'even') }} {% endfor %}", "{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }} {% endfor %}", "{% for x in range(9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% for x in [1, 2] %}{% break %}{% else %}else{% endfor %}", "{% for x in [1, 2] %}{% continue %}{% else %}else{% endfor %}",
            "{% for x in [1] recursive %}{{ x }}{% endfor %}", "{% for n in [[1, [2, [3]]]] recursive %}{% if n is iterable %}({{ loop(n) }}){{ loop.depth }}{% else %}{{ n }}.{{ loop.depth0 }}{% endif %}{% endfor %}", "{% for x in missing %}x{% endfor %}|", "{% for x in l|sort|reverse %}{{ x }}{{ loop.length }}{% endfor %}", "{% for x in 1, 2, 3 %}{{ x }}{% endfor %}", "{% for m in messages %}{{ m.role }}{{ ',' if not loop.last }}{% endfor %}", "{% for x in l %}{{ loop }} {% endfor %}",
            "{% for x in l|map('string') %}{{ loop.last }}{{ loop.length }} {% endfor %}", "{% set g = l|map('string') %}{{ g|list }}{{ g|list }}", "{% set g = l|select %}{{ g|first }}{{ g|first }}{{ g|list }}", "{% set ns = namespace(last=0) %}{% for x in [1, 1, 2, 2, 3] if x != ns.last %}{{ x }}{% set ns.last = x %}{% endfor %}", "{% for i in range(3) %}{% for j in range(3) %}{% if j == 1 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{% endfor %}", "{% macro loop() %}m{% endmacro %}{% for x in l %}{% macro loop() %}{{ x }}{% endmacro %}{{ loop() }}{% endfor %}", "{% for x in [3, 4] %}{{ loop.index }}{% endfor %}{{ loop is defined }}",
            "{% for x in l %}{% if loop.first %}[{% endif %}{{ x }}{% if loop.last %}]{% endif %}{% endfor %}", "{% for x in d.items()|sort(attribute='0') %}{{ x[0] }}{% endfor %}"],
    "scopes": ["{% set x = 1 %}{% if yes %}{% set x = 2 %}{% endif %}{{ x }}", "{% set x = 1 %}{% for i in l %}{% set x = i %}{% endfor %}{{ x }}", "{% set ns = namespace(x=0) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}", "{% for i in [1, 2] %}{{ x }}{% set x = i %}{{ x }}{% endfor %}{{ x }}", "{% set x = 5 %}{% for i in [1, 2] %}{{ x }}{% set x = i %}{{ x }}{% endfor %}{{ x }}", "{% for i in [1] %}{{ messages|length }}{% endfor %}{% set messages = 5 %}",
               "{{ messages|length }}{% for i in [1] %}{{ messages|length }}{% endfor %}{% set messages = [1] %}{{ messages|length }}", "{% if no %}{% set n = 99 %}{% endif %}{{ n }}", "{% if no %}{% set q = 99 %}{% endif %}{{ q is defined }}", "{% for i in [1] %}{% if no %}{% set n = 1 %}{% endif %}{{ n }}{% endfor %}", "{% for i in [1] %}{% if no %}{% set qq = 1 %}{% else %}{{ qq is defined }}{% endif %}{% endfor %}", "{% set n = n + 1 %}{{ n }}", "{% for n in [1, 2] %}{% endfor %}{{ n }}", "{% for i in [1] %}{% for j in [1] %}{% set z = 3 %}{% endfor %}{{ z is defined }}{% endfor %}",
               "{% with a = 1, b = 2 %}{{ a + b }}{% set c = 5 %}{% endwith %}{{ a is defined }}{{ c is defined }}", "{% set a = 1 %}{% with a = a + 1 %}{{ a }}{% endwith %}{{ a }}", "{% with %}{% set a = 1 %}{{ a }}{% endwith %}{{ a is defined }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set (a, b) = [3, 4] %}{{ a }}{{ b }}", "{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a }}{{ ns.b }}", "{% set ns = namespace(l=[]) %}{% for i in l %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.l }}{{ ns }}",
               "{% set x %}a{{ n }}b{% endset %}[{{ x }}]{{ x|length }}", "{% set x|upper %}a{{ n }}b{% endset %}{{ x }}", "{% set x | replace('a', 'b') | upper %}aa{% endset %}{{ x }}", "{% set x %}{% set y = 1 %}{{ y }}{% endset %}{{ x }}{{ y is defined }}", "{% filter upper %}abc {{ s }}{% endfilter %}", "{% filter replace('a', 'b')|upper %}aaa{% endfilter %}", "{% set x|length %}abc{% endset %}{{ x + 1 }}", "{% for x in [1, 2, 3] %}{% set y %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endset %}{{ y }}{% endfor %}", "{% print n, s %}", "{% set none_ = none %}{{ none_ }}", "{% set x = 1, 2 %}{{ x }}"],
    "macros": ["{% macro m(a, b='B', c=none) %}{{ a }}|{{ b }}|{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 2) }} {{ m(1, c=3) }} {{ m(b=2, a=1) }} {{ m() }}", "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, 2) }}", "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}", "{% macro m(a) %}{{ a }}{{ varargs }}{% endmacro %}{{ m(1, 2, 3) }}", "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}", "{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
               "{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}body{{ n }}{% endcall %}", "{% macro m(x) %}{{ caller(x, 2) }}{% endmacro %}{% call(a, b=3) m(1) %}{{ a }}-{{ b }}{% endcall %}", "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}", "{% set x = 1 %}{% macro m() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ m() }}", "{% macro m() %}{% set x = 5 %}{{ x }}{% endmacro %}{{ m() }}{{ x is defined }}", "{% macro m(x) %}{% if not x %}{% set x = 'dflt' %}{% endif %}{{ x }}{% endmacro %}{{ m('') }}{{ m('v') }}", "{% macro m() %}  {% endmacro %}[{{ m() }}][{{ m()|length }}]",
               "{{ m(1) if m is defined }}{% macro m(a) %}{{ a }}{% endmacro %}{{ m(2) }}", "{% macro m(a) -%}  {{ a }}  {%- endmacro %}[{{ m('x') }}]", "{% macro m(a=1, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(**{'b': 5}) }}{{ m(*[7, 8]) }}", "{{ m }}{% macro m() %}{% endmacro %}{{ m }}{{ m.name }}", "{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}", "{% macro m() %}{{ n }}{{ messages|length }}{% endmacro %}{{ m() }}", "{% macro outer(x) %}{% macro inner(y) %}{{ x }}{{ y }}{% endmacro %}{{ inner(2) }}{% endmacro %}{{ outer(1) }}",
               "{% macro m(d) %}{% for k, v in d.items() %}{{ k }}:{% if v is mapping %}{{ m(v) }}{% else %}{{ v }}{% endif %},{% endfor %}{% endmacro %}{{ m({'a': {'b': 1}, 'c': 2}) }}", "{% macro m(caller=none) %}{{ caller }}{% endmacro %}{{ m() }}"],
    "generation": ["{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}A{{ n }}{% endgeneration %}{% else %}{{ m.role }}{% endif %}{% endfor %}", "{% set a = 1 %}{% generation %}{% set a = 2 %}{{ a }}{% endgeneration %}{{ a }}", "{%- generation -%}  x  {%- endgeneration -%}  y"],
    "raw and comments": ["a{# c #}b", "a {#- c -#} b", "{# multi\nline #}x", "a\n{# c #}\nb", "  {# c #}  x", "{% raw %}{{ x }} {% if %}{% endraw %}", "{%- raw -%}  {{ x }}  {%- endraw -%}  y", "a\n  {% raw %}\n x\n  {% endraw %}\nb", "{# {{ x }} {% y %} #}z", "{#-#}x", "{# a #}{# b #}x"],
    "errors": ["{{ missing.x }}", "{{ missing['x'] }}", "{{ missing + 1 }}", "{{ missing() }}", "{{ 1 / 0 }}", "{{ 1 // 0 }}", "{{ 1 % 0 }}", "{{ 'a' + 1 }}", "{{ 1 + 'a' }}", "{{ none + 1 }}", "{{ l + (1,) }}", "{{ n.x.y }}", "{{ d.zz.y }}", "{{ 'a' < 1 }}", "{{ none < 1 }}", "{{ raise_exception('boom') }}", "{{ raise_exception('a' ~ n) }}", "{% for x in n %}{% endfor %}", "{% for x in none %}{% endfor %}", "{{ l|map('nofilter')|list }}", "{{ x|nofilter }}", "{{ x is notest }}", "{{ l|select('notest')|list }}", "{{ none|length }}", "{{ 5|length }}",
               "{{ missing|int }}", "{{ missing|tojson }}", "{{ range(3)|tojson }}", "{{ s.nomethod() }}", "{{ n() }}", "{{ d.update({'x': 1}) }}", "{{ l.append(1) }}", "{{ s.format }}{{ s.split(1) }}", "{{ s.split('') }}", "{{ s.index('zz') }}", "{{ l.index(99) }}", "{{ s[1:2:0] }}", "{{ d[1:2] }}", "{{ l['a':] }}", "{{ {[1]: 2} }}", "{% set n.x = 1 %}", "{% set a, b = 1 %}", "{% set a, b = [1, 2, 3] %}", "{% for a, b in [[1]] %}{% endfor %}", "{{ 'x' in 5 }}", "{{ 1 in 'abc' }}", "{{ '%d' % 'x' }}", "{{ '%s %s' % 'a' }}", "{{ '%s' % ('a', 'b') }}", "{{ '%y' % 1 }}", "{{ '%(a)s' % 'x' }}",
               "{{ range(1000000) }}", "{{ range('a') }}", "{{ range(1, 2, 0) }}", "{{ dict(1) }}", "{{ namespace(_x=1) }}", "{{ [3, 'a']|sort }}", "{{ [1]|join(attribute='x.y') }}", "{{ s|round }}", "{{ s|abs }}", "{{ d|dictsort(by='z') }}", "{{ n|items|list }}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(b=1) }}", "{{ l|first(1) }}", "{{ l|join(1, 2, 3) }}", "{{ s|replace('a') }}", "{{ s.upper(1) }}", "{{ s.startswith(1) }}", "{{ ', '.join([1]) }}", "{{ -s }}", "{{ (l|map('string'))|length }}", "{{ (l|map('string'))|last }}", "{{ s|indent(none) }}",
               "{% if %}{% endif %}", "{% for x %}{% endfor %}", "{% for in l %}{% endfor %}", "{% endif %}", "{% if yes %}", "{% for x in l %}", "{% unknown %}", "{{ }}", "{{ 1 + }}", "{{ (1 }}", "{{ [1, 2 }}", "{{ {'a' 1} }}", "{{ 'abc }}", "{{ a b }}", "{% set %}", "{% set 1 = 2 %}", "{% set x %}", "{# open", "{% raw %}x", "{{ x | }}", "{{ x is }}", "{% macro %}{% endmacro %}", "{% macro m(a=1, b) %}{% endmacro %}", "{% break %}", "{% continue %}", "{{ f(a=1, 2) }}", "{{ f(**a, *b) }}", "{{ a is b is c }}", "{{ $ }}", "{{ 1..2 }}", "{{ x. }}", "{{ )( }}", "{{ 'a' 1 }}", "{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}",
               "{% do x %}", "{% else %}", "{% set true = 1 %}", "{% for loop in l %}{% endfor %}", "{% for x in l %}{% set loop = 1 %}{% endfor %}", "{{ loop.index }}", "{% for x in l if loop.index %}{% endfor %}", "{% call n() %}{% endcall %}", "{% call n %}{% endcall %}", "{{ caller() }}", "{% filter %}x{% endfilter %}", "{% filter length %}x{% endfilter %}", "{{ dict(missing) }}", "{{ 5|map('upper')|list }}", "{{ [1, 'a']|map('abs')|list }}", "{% for x in l %}{{ loop.cycle() }}{% endfor %}", "{% for x in l %}{{ loop(l) }}{% endfor %}",
               "{{ 'x'.__class__.__mro__ }}", "{{ d.__class__.x }}", "{{ range.__globals__.x }}", "{{ namespace.__init__.x }}", "{{ (1 if no).x }}", "{{ (1 if no) + 1 }}", "{{ el|first + 1 }}", "{{ d.get() }}", "{{ d.get([]) }}", "{{ tojson(1) }}", "{{ s|truncate(1) }}", "{{ ('a'|safe) + 1 }}", "{{ '{} {}'.format(1) }}", "{{ '{x}'.format(y=1) }}", "{{ '{'.format() }}", "{{ '{:q}'.format(1) }}", "{{ '{:d}'.format('a') }}", "{{ strftime_now() }}"],
}

# Whitespace control: every pair of signs around every kind of tag.
BEFORE = ["{%", "{%-", "{%+"]
AFTER = ["%}", "-%}", "+%}"]
CONTEXTS = ["a{T}b", "a {T} b", "a\n{T}\nb", "a\n  {T}  \nb", "a\n\n \t{T}\t\n\n b", "{T}\n\nx", "  {T}\n", "x\n  {T}", "x  {T}{T}  \n  {T}\ny", "é\u00a0\n\u00a0{T}\u3000\n z"]


def whitespace_templates():
    for before in BEFORE:
        for after in AFTER:
            for context in CONTEXTS:
                yield context.replace("{T}", f"{before} set q = 1 {after}")
    for before in ["{{", "{{-"]:
        for after in ["}}", "-}}"]:
            for context in CONTEXTS:
                yield context.replace("{T}", f"{before} n {after}")
    for before in ["{#", "{#-", "{#+"]:
        for after in ["#}", "-#}", "+#}"]:
            for context in CONTEXTS:
                yield context.replace("{T}", f"{before} c {after}")
    for before in BEFORE:
        for after in AFTER:
            yield f"a\n  {before} if yes {after}\n  b\n  {before} endif {after}\n  c\n"
            yield f"a\n  {before} raw {after}\n  b\n  {before} endraw {after}\n  c\n"
    yield from ["", "\n", "\n\n", "a\n", "a\n\n", "a\r\nb\r\n", "a\rb\r", "a\r\n  {% if yes %}\r\nb{% endif %}\r\n", " {{ n }} \n", "{{ 'a\r\nb' }}",
                "{{ n }}\n{% if yes %}\nx\n{% endif %}\n\n", "{%if yes%}x{%endif%}", "{{n}}", "{{\nn\n}}", "{%\nif yes\n%}x{%\nendif\n%}", "{{-n-}}", "{{ -n }}", "{{- -n -}}",
                "{ { n } }", "{", "{{ '{' }}{", "%}", "}}", "#}", "a {% set x = {'a': {'b': 1}} %}{{ x }}", "{{ {'a': {'b': 1}}['a'] }}", "{{ [{}] }}", "\\{{ n }}"]
