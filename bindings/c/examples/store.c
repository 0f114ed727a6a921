/* A store of codes: rows go in, the nearest come back.
 *
 *     cc store.c $(pkg-config --cflags --libs bitkin) -o store && ./store codes.bitkin
 */

#include <bitkin.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void check(bitkin_status status)
{
    if (status != BITKIN_OK) {
        fprintf(stderr, "error: %s\n", bitkin_error_message());
        exit(1);
    }
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: store DIRECTORY\n");
        return 2;
    }

    bitkin_database *database;
    bitkin_collection *codes;
    check(bitkin_create(arguments[1], NULL, &database));
    check(bitkin_create_collection(database, "codes", 16, NULL, 0, &codes));

    /* Three rows of 16 bits, two bytes each. */
    const uint64_t ids[] = {1, 2, 3};
    const uint8_t rows[] = {0x00, 0x00, 0xff, 0x00, 0xff, 0xff};
    const char *const payloads[] = {"{\"year\": 2019}", "{\"year\": 2021}", NULL};
    check(bitkin_insert(codes, ids, 3, rows, sizeof rows, payloads, NULL));

    const uint8_t query[] = {0x7f, 0x00};
    uint64_t found[2];
    uint32_t distances[2];
    check(bitkin_search(codes, query, sizeof query, 2, NULL, found, distances, 2, NULL));
    for (int i = 0; i < 2; i++) {
        printf("id %" PRIu64 " at distance %" PRIu32 "\n", found[i], distances[i]);
    }

    bitkin_search_options recent = {.filter = "year > 2020"};
    check(bitkin_search(codes, query, sizeof query, 1, &recent, found, distances, 1, NULL));
    printf("of those after 2020: id %" PRIu64 "\n", found[0]);

    check(bitkin_collection_free(codes));
    check(bitkin_close(database));
    return 0;
}
