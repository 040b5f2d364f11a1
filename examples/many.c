/* many.c - several answers to each line at once on libquern's engine, in one file.
 *
 *     cc -o many many.c $(pkg-config --cflags --libs quern)
 *     ./many models/Qwen3-0.6B 3 < questions.txt
 *
 * Every line of standard input is a text to be continued, N times with different seeds. All of it
 * runs together; answers are printed in order, each as soon as it is complete.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quern.h"

enum { MAX_LINES = 64, MAX_ANSWERS = 8, LINE_BYTES = 4096, ANSWER_TOKENS = 60 };

static int fail(const struct quern_error *err) {
    fprintf(stderr, "many: %s\n", err->message);
    return 1;
}

/* Waits for the events of one request and prints its text. */
static int print_answer(quern_ticket *ticket) {
    struct quern_event event;
    struct quern_request_result result;
    struct quern_error err;
    for (;;) {
        const enum quern_next next = quern_ticket_next(ticket, &event);
        if (next == QUERN_NEXT_END)
            break;
        if (next == QUERN_NEXT_EVENT)
            fwrite(event.text, 1, event.text_len, stdout);
        else
            quern_ticket_wait(ticket, -1);
    }
    putchar('\n');
    if (quern_ticket_result(ticket, &result, &err))
        return fail(&err);
    if (result.finish == QUERN_FINISH_ERROR)
        fprintf(stderr, "many: %s\n", result.message);
    fprintf(stderr, "(%zu tokens read, %zu of them known; %zu made in %.0f ms)\n",
            result.usage.prompt_tokens, result.usage.cached_tokens, result.usage.completion_tokens,
            result.usage.total_ms);
    return result.finish == QUERN_FINISH_ERROR;
}

/* n requests for one prompt. The engine computes the prompt once. */
static int submit_line(quern_model *model, quern_engine *engine, const char *line, int n,
                       quern_ticket **tickets) {
    struct quern_error err;
    struct quern_request request = {
        .generate = {.max_tokens = ANSWER_TOKENS, .n_top_logprobs = -1}};
    int32_t *ids = NULL;
    if (quern_tokenize(model, line, strlen(line), true, true, &ids, &request.n_prompt, &err))
        return fail(&err);
    request.prompt = ids;
    quern_sampling_defaults(model, &request.generate.sampling);
    request.generate.sampling.temperature = 0.8f;
    int code = 0;
    for (int i = 0; i < n && !code; i++) {
        request.generate.sampling.seed = (uint64_t)i;
        if (quern_engine_submit(engine, &request, &tickets[i], &err))
            code = fail(&err);
    }
    quern_free(ids);
    return code;
}

static int run(quern_model *model, quern_engine *engine, int n) {
    static quern_ticket *tickets[MAX_LINES][MAX_ANSWERS];
    char line[LINE_BYTES];
    int n_lines = 0, code = 0;
    while (!code && n_lines < MAX_LINES && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0])
            code = submit_line(model, engine, line, n, tickets[n_lines++]);
    }
    for (int i = 0; i < n_lines; i++) {
        for (int k = 0; k < n; k++) {
            if (tickets[i][k] && !code)
                code = print_answer(tickets[i][k]);
            quern_ticket_destroy(tickets[i][k]);
        }
    }
    return code;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: many MODEL [ANSWERS]\n");
        return 2;
    }
    const int n = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 2;
    quern_model *model = NULL;
    quern_engine *engine = NULL;
    struct quern_error err;
    if (quern_model_open(argv[1], NULL, &model, &err))
        return fail(&err);
    int code = quern_engine_create(model, NULL, &engine, &err) ? fail(&err) : 0;
    if (!code)
        code = run(model, engine, n < 1 ? 1 : n > MAX_ANSWERS ? MAX_ANSWERS : n);
    quern_engine_destroy(engine);
    quern_model_close(model);
    return code;
}
