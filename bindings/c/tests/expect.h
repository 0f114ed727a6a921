/* What the tests in C share. */

#ifndef EXPECT_H
#define EXPECT_H

#include <bitkin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition)                                                                        \
    do {                                                                                         \
        if (!(condition)) {                                                                      \
            fprintf(stderr, "%s:%d: not so: %s (%s)\n", __FILE__, __LINE__, #condition,          \
                    bitkin_error_message());                                                     \
            exit(1);                                                                             \
        }                                                                                        \
    } while (0)

/* That a call goes well. */
#define WORKS(call) EXPECT((call) == BITKIN_OK)

/* That a call fails in this way and says why. */
#define FAILS(status, call)                                                                      \
    do {                                                                                         \
        EXPECT((call) == (status));                                                              \
        EXPECT(bitkin_error_message()[0] != '\0');                                               \
    } while (0)

#define SAYS(text) EXPECT(strstr(bitkin_error_message(), text) != NULL)

/* That a text that was given has these words in it; frees it. */
#define HAS(text, words)                                                                         \
    do {                                                                                         \
        EXPECT((text) != NULL && strstr(text, words) != NULL);                                   \
        WORKS(bitkin_string_free(text));                                                         \
    } while (0)

#endif
