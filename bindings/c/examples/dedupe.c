/* Near-duplicates of pictures: which of them are the same, by a perceptual hash that needs no model.
 *
 *     cc dedupe.c $(pkg-config --cflags --libs bitkin) -o dedupe && ./dedupe photos.bitkin ~/pictures
 *
 * What was ingested before is not decoded again.
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

static bool show_progress(void *context, const bitkin_ingest_report *report)
{
    (void)context;
    fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " files", report->done, report->total);
    return true;
}

/* Prints what is known of a row: its payload has the file's name as `source`. */
static void show(bitkin_collection *pictures, uint64_t id)
{
    const char *payload;
    check(bitkin_get(pictures, id, NULL, 0, &payload));
    printf("row %" PRIu64 " %s\n", id, payload ? payload : "");
    check(bitkin_string_free(payload));
}

static bool show_group(void *context, uint64_t kept, const uint64_t *duplicates,
                       const uint32_t *distances, size_t count)
{
    bitkin_collection *pictures = context;
    show(pictures, kept);
    for (size_t i = 0; i < count; i++) {
        printf("  %" PRIu32 " bits away: ", distances[i]);
        show(pictures, duplicates[i]);
    }
    return true;
}

int main(int count, char **arguments)
{
    if (count < 3) {
        fprintf(stderr, "usage: dedupe DATABASE PICTURES...\n");
        return 2;
    }

    bitkin_database *database;
    bitkin_collection *pictures;
    check(bitkin_open_or_create(arguments[1], NULL, &database));
    bitkin_status made = bitkin_create_pdq_collection(database, "pictures", NULL, 0, &pictures);
    if (made == BITKIN_ALREADY_EXISTS) {
        made = bitkin_open_collection(database, "pictures", &pictures);
    }
    check(made);

    const char *const *paths = (const char *const *)(arguments + 2);
    bitkin_ingest_report report;
    const char *skipped;
    check(bitkin_ingest(pictures, paths, (size_t)count - 2, NULL, show_progress, NULL, &report,
                        &skipped));
    fprintf(stderr, "\n%s", skipped);
    check(bitkin_string_free(skipped));
    printf("%" PRIu64 " pictures inserted, %" PRIu64 " known, %" PRIu64 " skipped\n", report.inserted,
           report.known, report.skipped);

    /* Hashes of pictures with little to see collide. */
    bitkin_search_options clear = {.filter = "quality >= 50"};
    uint64_t groups;
    check(bitkin_groups(pictures, BITKIN_PDQ_RADIUS, &clear, NULL, show_group, pictures, &groups));
    printf("%" PRIu64 " groups\n", groups);

    check(bitkin_collection_free(pictures));
    check(bitkin_close(database));
    return 0;
}
