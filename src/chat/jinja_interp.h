/* jinja_interp.h - running the syntax tree. All functions return false (FLOW_FAIL) after
 * jinja_fail. */
#ifndef QUERN_CHAT_JINJA_INTERP_H
#define QUERN_CHAT_JINJA_INTERP_H

#include "chat/jinja_ast.h"
#include "chat/jinja_native.h"
#include "chat/jinja_run.h"

enum jflow { FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE, FLOW_FAIL };

/* Renders the whole template to run->out. */
bool jinja_render(struct jinja_run *run, const struct jtemplate *t);

enum jflow jinja_execute(struct jinja_run *run, struct jinja_frame *frame,
                         const struct jnodes *body);
bool jinja_eval(struct jinja_run *run, struct jinja_frame *frame, const struct jnode *node,
                struct jvalue *out);

/* ---- scopes and variables ---- */
struct jinja_frame *jinja_frame_create(struct jinja_run *run, struct jinja_frame *parent,
                                       uint32_t n_slots);
void jinja_frame_release(struct jinja_run *run, struct jinja_frame *frame);
void jinja_enter_scope(struct jinja_run *run, struct jinja_frame *frame,
                       const struct jscope *scope);
void jinja_leave_scope(struct jinja_frame *frame, const struct jscope *scope);
bool jinja_assign(struct jinja_run *run, struct jinja_frame *frame, const struct jnode *target,
                  struct jvalue value);
/* One level deeper in C; jinja_leave undoes it. */
bool jinja_enter(struct jinja_run *run);
static inline void jinja_leave(struct jinja_run *run) {
    run->eval_depth--;
}

/* ---- calls ---- */
bool jinja_eval_arguments(struct jinja_run *run, struct jinja_frame *frame,
                          const struct jcall *call, struct jarguments *out);
bool jinja_call_value(struct jinja_run *run, struct jvalue callee, const struct jarguments *args,
                      struct jvalue *out);
bool jinja_make_macro(struct jinja_run *run, struct jinja_frame *frame, const struct jnode *node,
                      struct jvalue *out);
/* loop(iterable) of a recursive loop, and the loop itself. */
bool jinja_run_recursive(struct jinja_run *run, struct jinja_frame *outer, const struct jnode *node,
                         struct jvalue iterable, int64_t depth0, struct jvalue *out);
enum jflow jinja_execute_for(struct jinja_run *run, struct jinja_frame *frame,
                             const struct jnode *node);

/* ---- operators and lookups ---- */
bool jinja_binary(struct jinja_run *run, enum jbinary op, struct jvalue a, struct jvalue b,
                  struct jvalue *out);
bool jinja_negate(struct jinja_run *run, struct jvalue a, bool minus, struct jvalue *out);
bool jinja_get_attribute(struct jinja_run *run, struct jvalue object, struct str name,
                         struct jvalue *out);
bool jinja_get_item(struct jinja_run *run, struct jvalue object, struct jvalue index,
                    struct jvalue *out);
bool jinja_get_slice(struct jinja_run *run, struct jvalue object, struct jvalue start,
                     struct jvalue stop, struct jvalue step, struct jvalue *out);

#endif
