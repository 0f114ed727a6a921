/* Calls every function, rightly and wrongly. Prints "all is well" at the end. */

#include "expect.h"
#include <pthread.h>

/* Fewer where every instruction is looked at. */
#ifndef ROWS
#define ROWS 3000
#endif

enum { SIZE = 8, K = 5 };

static uint8_t codes[ROWS * SIZE];

static uint64_t chance(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state >> 33;
}

static uint32_t apart(const uint8_t *a, const uint8_t *b)
{
    uint32_t sum = 0;
    for (int i = 0; i < SIZE; i++) {
        for (int bit = 0; bit < 8; bit++) {
            sum += ((a[i] ^ b[i]) >> bit) & 1;
        }
    }
    return sum;
}

struct seen {
    uint64_t hits;
    uint64_t most;
    uint32_t radius;
    double share;
};

static bool see(void *context, uint64_t id, uint32_t distance)
{
    struct seen *seen = context;
    EXPECT(id < ROWS && distance <= seen->radius);
    return ++seen->hits < seen->most;
}

static bool see_pair(void *context, uint64_t a, uint64_t b, uint32_t distance)
{
    struct seen *seen = context;
    EXPECT(a < b && distance <= seen->radius);
    EXPECT(apart(codes + a * SIZE, codes + b * SIZE) == distance);
    return ++seen->hits < seen->most;
}

static bool see_share(void *context, double share)
{
    struct seen *seen = context;
    EXPECT(seen->share <= share && share <= 1);
    seen->share = share;
    return true;
}

static bitkin_collection *shared;

/* Searches for row after row, each of which is its own nearest. */
static void *search_many(void *unused)
{
    (void)unused;
    for (uint64_t row = 0; row < 300; row++) {
        uint64_t id;
        uint32_t distance;
        EXPECT(bitkin_search(shared, codes + row * SIZE, SIZE, 1, NULL, &id, &distance, 1, NULL)
               == BITKIN_OK);
        EXPECT(distance == 0);
        FAILS(BITKIN_BAD_HANDLE, bitkin_search(NULL, codes, SIZE, 1, NULL, &id, &distance, 1, NULL));
    }
    return NULL;
}

/* Searches until the database is closed under it. */
static void *search_on(void *unused)
{
    (void)unused;
    bitkin_status status;
    do {
        uint64_t id;
        uint32_t distance;
        status = bitkin_search(shared, codes, SIZE, 1, NULL, &id, &distance, 1, NULL);
        EXPECT(status == BITKIN_CLOSED || (status == BITKIN_OK && distance == 0));
    } while (status == BITKIN_OK);
    SAYS("closed");
    return NULL;
}

static void rows_and_searches(bitkin_database *database)
{
    bitkin_collection *collection;
    const char *const index[] = {"n:int", "name:word", NULL};
    EXPECT(bitkin_create_collection(database, "codes", 8 * SIZE, index, 1, &collection) == BITKIN_OK);
    FAILS(BITKIN_ALREADY_EXISTS, bitkin_create_collection(database, "codes", 64, NULL, 0, NULL));
    FAILS(BITKIN_INVALID_INPUT, bitkin_create_collection(database, "narrow", 7, NULL, 0, NULL));
    FAILS(BITKIN_INVALID_INPUT, bitkin_create_collection(database, NULL, 64, NULL, 0, NULL));
    FAILS(BITKIN_INVALID_INPUT, bitkin_create_collection(database, "\xff", 64, NULL, 0, NULL));
    FAILS(BITKIN_INVALID_INPUT, bitkin_create_collection(database, "bad", 64, index, 2, NULL));
    SAYS("int, float, text and bool");
    FAILS(BITKIN_INVALID_INPUT, bitkin_create_collection(database, "bad", 64, index + 2, 1, NULL));
    FAILS(BITKIN_INVALID_INPUT, bitkin_create_collection(database, "bad", 64, NULL, 1, NULL));
    uint32_t bits = 0;
    EXPECT(bitkin_bits(collection, &bits) == BITKIN_OK && bits == 8 * SIZE);
    FAILS(BITKIN_INVALID_INPUT, bitkin_bits(collection, NULL));

    uint64_t ids[ROWS];
    const char *payloads[ROWS];
    char texts[ROWS][32];
    for (int row = 0; row < ROWS; row++) {
        ids[row] = (uint64_t)row;
        snprintf(texts[row], sizeof texts[row], "{\"n\": %d}", row % 100);
        payloads[row] = row % 2 ? texts[row] : NULL;
        for (int i = 0; i < SIZE; i++) {
            codes[row * SIZE + i] = (uint8_t)chance();
        }
    }
    EXPECT(bitkin_insert(collection, ids, ROWS - 1, codes, (ROWS - 1) * SIZE, payloads, NULL)
           == BITKIN_OK);
    uint64_t assigned = 0;
    EXPECT(bitkin_insert(collection, NULL, 1, codes + (ROWS - 1) * SIZE, SIZE,
                         payloads + ROWS - 1, &assigned) == BITKIN_OK);
    EXPECT(assigned == ROWS - 1);

    /* Wrong rows: none of them is in. */
    FAILS(BITKIN_ALREADY_EXISTS, bitkin_insert(collection, ids, 1, codes, SIZE, NULL, NULL));
    FAILS(BITKIN_INVALID_INPUT, bitkin_insert(collection, NULL, 2, codes, SIZE, NULL, NULL));
    SAYS("8 bytes are not 2 codes");
    FAILS(BITKIN_INVALID_INPUT, bitkin_insert(collection, NULL, 1, NULL, SIZE, NULL, NULL));
    SAYS("codes is NULL");
    FAILS(BITKIN_INVALID_INPUT,
          bitkin_insert(collection, (const uint64_t *)((const char *)ids + 1), 1, codes, SIZE, NULL,
                        NULL));
    SAYS("not aligned");
    FAILS(BITKIN_INVALID_INPUT,
          bitkin_insert(collection, ids, SIZE_MAX / 2, codes, SIZE, NULL, NULL));
    FAILS(BITKIN_INVALID_INPUT, bitkin_insert(collection, NULL, SIZE_MAX, codes, SIZE, NULL, NULL));
    const char *bad = "{";
    FAILS(BITKIN_INVALID_INPUT, bitkin_insert(collection, NULL, 1, codes, SIZE, &bad, NULL));
    SAYS("JSON");
    uint64_t rows = 0;
    EXPECT(bitkin_insert(collection, NULL, 0, NULL, 0, NULL, NULL) == BITKIN_OK);
    EXPECT(bitkin_error_message()[0] == '\0');
    EXPECT(bitkin_count(collection, NULL, &rows) == BITKIN_OK && rows == ROWS);
    EXPECT(bitkin_count(collection, "n = 7", &rows) == BITKIN_OK && rows == ROWS / 100);
    FAILS(BITKIN_INVALID_INPUT, bitkin_count(collection, "n = ", &rows));

    /* Every query against all rows, before there are tables and after. */
    for (int flushed = 0; flushed < 2; flushed++) {
        enum { QUERIES = 20 };
        uint64_t found[QUERIES * K];
        uint32_t distances[QUERIES * K];
        int64_t radii[QUERIES];
        EXPECT(bitkin_search(collection, codes, QUERIES * SIZE, K, NULL, found, distances,
                             QUERIES * K, radii) == BITKIN_OK);
        for (int query = 0; query < QUERIES; query++) {
            const uint32_t *own = distances + query * K;
            EXPECT(found[query * K] == (uint64_t)query && own[0] == 0);
            int nearer = 0;
            for (int row = 0; row < ROWS; row++) {
                nearer += apart(codes + row * SIZE, codes + query * SIZE) < own[K - 1];
            }
            EXPECT(nearer < K);
            EXPECT(radii[query] == own[K - 1]);
            for (int hit = 0; hit < K; hit++) {
                EXPECT(apart(codes + found[query * K + hit] * SIZE, codes + query * SIZE)
                       == own[hit]);
            }
        }
        bitkin_hits *hits;
        EXPECT(bitkin_search_radius(collection, codes, 2 * SIZE, 20, NULL, &hits) == BITKIN_OK);
        for (size_t query = 0; query < 2; query++) {
            size_t count, due = 0;
            const uint64_t *near;
            const uint32_t *far;
            int64_t radius;
            EXPECT(bitkin_hits_get(hits, query, &count, &near, &far, &radius) == BITKIN_OK);
            for (int row = 0; row < ROWS; row++) {
                due += apart(codes + row * SIZE, codes + query * SIZE) <= 20;
            }
            EXPECT(count == due && radius == 20 && near[0] == query && far[0] == 0);
            struct seen seen = {.most = UINT64_MAX, .radius = 20};
            uint64_t given = 0;
            EXPECT(bitkin_search_each(collection, codes + query * SIZE, SIZE, 20, NULL, see, &seen,
                                      &given) == BITKIN_OK);
            EXPECT(seen.hits == due && given == due);
        }
        FAILS(BITKIN_NOT_FOUND, bitkin_hits_get(hits, 2, NULL, NULL, NULL, NULL));
        EXPECT(bitkin_hits_free(hits) == BITKIN_OK);
        FAILS(BITKIN_BAD_HANDLE, bitkin_hits_free(hits));
        FAILS(BITKIN_BAD_HANDLE, bitkin_hits_get(hits, 0, NULL, NULL, NULL, NULL));
        struct seen pairs = {.most = UINT64_MAX, .radius = 10}, few = {.most = 2, .radius = 20};
        uint64_t given = 0, due = 0;
        EXPECT(bitkin_pairs(collection, 10, NULL, see_share, see_pair, &pairs, &given) == BITKIN_OK);
        for (int a = 0; a < ROWS; a++) {
            for (int b = a + 1; b < ROWS; b++) {
                due += apart(codes + a * SIZE, codes + b * SIZE) <= 10;
            }
        }
        EXPECT(pairs.hits == due && given == due && pairs.share == 1);
        EXPECT(bitkin_pairs(collection, 20, NULL, NULL, see_pair, &few, &given) == BITKIN_OK);
        EXPECT(few.hits == 2 && given == 2);
        EXPECT(bitkin_flush(database) == BITKIN_OK);
        EXPECT(bitkin_compact(database) == BITKIN_OK);
    }

    /* Short of k, with filters, with budgets. */
    uint64_t found[2 * K];
    uint32_t distances[2 * K];
    int64_t radius;
    bitkin_search_options options = {.filter = "n = 7 AND n IS NOT NULL", .threads = 1};
    EXPECT(bitkin_search(collection, codes, SIZE, K, &options, found, distances, K, &radius)
           == BITKIN_OK);
    EXPECT(found[0] % 100 == 7 && radius == distances[K - 1]);
    options.filter = "n = 1000";
    EXPECT(bitkin_search(collection, codes, SIZE, K, &options, found, distances, K, &radius)
           == BITKIN_OK);
    EXPECT(found[0] == BITKIN_NO_ID && distances[0] == BITKIN_NO_DISTANCE && radius == 8 * SIZE);
    options = (bitkin_search_options){.candidates = 1};
    EXPECT(bitkin_search(collection, codes, SIZE, K, &options, found, distances, K, &radius)
           == BITKIN_OK);
    options.microseconds = 1;
    FAILS(BITKIN_INVALID_INPUT,
          bitkin_search(collection, codes, SIZE, K, &options, found, distances, K, &radius));
    options = (bitkin_search_options){.way = 7};
    FAILS(BITKIN_INVALID_INPUT,
          bitkin_search(collection, codes, SIZE, K, &options, found, distances, K, &radius));

    /* Every way gives the same, within a radius too; and is told of. */
    uint32_t near = 22;
    for (uint32_t way = BITKIN_WAY_PLANNED; way <= BITKIN_WAY_TABLES; way++) {
        options = (bitkin_search_options){.way = way, .radius = &near};
        EXPECT(bitkin_search(collection, codes, 2 * SIZE, K, &options, found, distances, 2 * K, NULL)
               == BITKIN_OK);
        for (int hit = 0; hit < 2 * K; hit++) {
            EXPECT(distances[hit] <= near || distances[hit] == BITKIN_NO_DISTANCE);
        }
        const char *text;
        EXPECT(bitkin_explain(collection, codes, SIZE, SIZE_MAX, &options, &text) == BITKIN_OK);
        HAS(text, ": scan in "); /* Segments so small have no tables. */
    }
    FAILS(BITKIN_INVALID_INPUT, bitkin_explain(collection, codes, SIZE - 1, K, NULL, NULL));
    FAILS(BITKIN_INVALID_INPUT,
          bitkin_search_each(collection, codes, SIZE, 3, &options, see, NULL, NULL));
    SAYS("radius of their own");

    /* Wrong sizes, NULL, and k of all kinds. */
    FAILS(BITKIN_INVALID_INPUT,
          bitkin_search(collection, codes, SIZE - 1, K, NULL, found, distances, K, NULL));
    FAILS(BITKIN_INVALID_INPUT,
          bitkin_search(collection, codes, 2 * SIZE, K, NULL, found, distances, 2 * K - 1, NULL));
    SAYS("room for 9 values");
    FAILS(BITKIN_INVALID_INPUT,
          bitkin_search(collection, codes, SIZE, SIZE_MAX, NULL, found, distances, K, NULL));
    FAILS(BITKIN_INVALID_INPUT,
          bitkin_search(collection, codes, SIZE, K, NULL, NULL, distances, K, NULL));
    EXPECT(bitkin_search(collection, codes, SIZE, 0, NULL, NULL, NULL, 0, NULL) == BITKIN_OK);
    EXPECT(bitkin_search(collection, NULL, 0, K, NULL, NULL, NULL, 0, NULL) == BITKIN_OK);
    FAILS(BITKIN_INVALID_INPUT, bitkin_search_radius(collection, codes, SIZE, 3, NULL, NULL));
    FAILS(BITKIN_INVALID_INPUT,
          bitkin_search_each(collection, codes, SIZE, 3, NULL, NULL, NULL, NULL));
    FAILS(BITKIN_INVALID_INPUT, bitkin_pairs(collection, 3, NULL, NULL, NULL, NULL, NULL));

    /* Rows, one by one. */
    uint8_t code[SIZE];
    const char *payload;
    EXPECT(bitkin_get(collection, 7, code, sizeof code, &payload) == BITKIN_OK);
    EXPECT(memcmp(code, codes + 7 * SIZE, SIZE) == 0 && strcmp(payload, "{\"n\": 7}") == 0);
    EXPECT(bitkin_string_free(payload) == BITKIN_OK);
    FAILS(BITKIN_BAD_HANDLE, bitkin_string_free(payload));
    EXPECT(bitkin_get(collection, 8, NULL, 0, &payload) == BITKIN_OK && payload == NULL);
    FAILS(BITKIN_INVALID_INPUT, bitkin_get(collection, 7, code, SIZE - 1, NULL));
    FAILS(BITKIN_NOT_FOUND, bitkin_get(collection, ROWS, code, sizeof code, NULL));

    bitkin_rows *left;
    uint64_t gone = 0, id = 0, expected = 0;
    EXPECT(bitkin_rows_begin(collection, NULL, &left) == BITKIN_OK);
    EXPECT(bitkin_delete(collection, ids, 10, &gone) == BITKIN_OK && gone == 10);
    EXPECT(bitkin_delete(collection, ids, 10, &gone) == BITKIN_OK && gone == 0);
    EXPECT(bitkin_delete_where(collection, "n = 11", &gone) == BITKIN_OK && gone == ROWS / 100);
    EXPECT(bitkin_upsert(collection, ids + 20, 1, codes, SIZE, NULL, &gone) == BITKIN_OK);
    EXPECT(gone == 1);
    for (bool more = true; more;) {
        EXPECT(bitkin_rows_next(left, &more, &id, code, sizeof code, NULL) == BITKIN_OK);
        if (more) {
            EXPECT(id == expected && memcmp(code, codes + id * SIZE, SIZE) == 0);
            expected++;
        }
    }
    EXPECT(expected == ROWS);
    EXPECT(bitkin_rows_free(left) == BITKIN_OK);
    EXPECT(bitkin_rows_begin(collection, "n = 13", &left) == BITKIN_OK);
    bool more;
    EXPECT(bitkin_rows_next(left, &more, &id, NULL, 0, &payload) == BITKIN_OK && more && id == 13);
    EXPECT(strcmp(payload, "{\"n\": 13}") == 0 && bitkin_string_free(payload) == BITKIN_OK);
    FAILS(BITKIN_INVALID_INPUT, bitkin_rows_next(left, NULL, &id, NULL, 0, NULL));
    FAILS(BITKIN_INVALID_INPUT, bitkin_rows_next(left, &more, &id, code, 1, NULL));
    EXPECT(bitkin_rows_free(left) == BITKIN_OK);

    bitkin_stats stats;
    EXPECT(bitkin_collection_compact(collection) == BITKIN_OK);
    EXPECT(bitkin_collection_stats(collection, &stats) == BITKIN_OK);
    EXPECT(stats.rows == ROWS - 10 - ROWS / 100 && stats.deleted_rows == 0 && stats.segments > 0);

    /* Many threads on one handle. */
    shared = collection;
    EXPECT(bitkin_upsert(collection, ids, ROWS, codes, sizeof codes, NULL, NULL) == BITKIN_OK);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        EXPECT(pthread_create(&threads[i], NULL, search_many, NULL) == 0);
    }
    for (int i = 0; i < 4; i++) {
        EXPECT(pthread_join(threads[i], NULL) == 0);
    }
    EXPECT(bitkin_error_message()[0] == '\0');

    /* A handle is freed once, and is of one kind. */
    FAILS(BITKIN_BAD_HANDLE, bitkin_close((bitkin_database *)collection));
    EXPECT(bitkin_collection_free(collection) == BITKIN_OK);
    FAILS(BITKIN_BAD_HANDLE, bitkin_collection_free(collection));
    FAILS(BITKIN_BAD_HANDLE, bitkin_count(collection, NULL, &rows));
    SAYS("freed");
    FAILS(BITKIN_BAD_HANDLE, bitkin_count((bitkin_collection *)codes, NULL, &rows));
    EXPECT(bitkin_collection_free(NULL) == BITKIN_OK);
    EXPECT(bitkin_string_free(NULL) == BITKIN_OK);
    EXPECT(bitkin_hits_free(NULL) == BITKIN_OK && bitkin_rows_free(NULL) == BITKIN_OK);
}

/* Searches that count some of the bits. */
/* Rows that share half of their bytes are found by ten of them as examples, whatever the others say. */
static void selections(bitkin_collection *wide)
{
    enum { KIN = 20, FIRST = 100000 };
    uint8_t kin[KIN * SIZE];
    uint64_t ids[KIN], found[KIN];
    for (int row = 0; row < KIN; row++) {
        memcpy(kin + row * SIZE, codes + row * SIZE, SIZE);
        memset(kin + row * SIZE, 0x5a, SIZE / 2);
        ids[row] = FIRST + (uint64_t)row;
    }
    EXPECT(bitkin_insert(wide, ids, KIN, kin, sizeof kin, NULL, NULL) == BITKIN_OK);
    uint8_t query[SIZE], mask[SIZE];
    uint32_t distances[KIN];
    bitkin_search_options options = {.mask = mask, .mask_size = SIZE};
    for (uint32_t bits = 0; bits <= 8 * SIZE / 2; bits += 8 * SIZE / 4) {
        EXPECT(bitkin_select_bits(wide, kin, 10 * SIZE, NULL, 0, bits, query, mask, SIZE) == BITKIN_OK);
        uint32_t selected = 0;
        for (int bit = 0; bit < 8 * SIZE; bit++) {
            selected += mask[bit / 8] >> bit % 8 & 1;
        }
        EXPECT(bits == 0 ? selected > 0 && selected <= 8 * SIZE : selected == bits);
        EXPECT(bitkin_search(wide, query, SIZE, KIN, &options, found, distances, KIN, NULL) == BITKIN_OK);
        int right = 0;
        for (int hit = 0; hit < KIN; hit++) {
            right += found[hit] >= FIRST;
        }
        EXPECT(right >= KIN - 2);
    }
    FAILS(BITKIN_INVALID_INPUT,
          bitkin_select_bits(wide, NULL, 0, codes, SIZE, 0, query, mask, SIZE));
    SAYS("there are no like examples");
    FAILS(BITKIN_INVALID_INPUT, bitkin_select_bits(wide, kin, SIZE, kin, SIZE, 0, query, mask, SIZE));
    SAYS("no bit tells them apart");
    FAILS(BITKIN_INVALID_INPUT,
          bitkin_select_bits(wide, kin, SIZE, NULL, 0, 8 * SIZE + 1, query, mask, SIZE));
    SAYS("cannot be selected from codes of");
    FAILS(BITKIN_INVALID_INPUT, bitkin_select_bits(wide, kin, SIZE, NULL, 0, 0, query, mask, SIZE - 1));
    SAYS("query has room for");
}

static void masks(bitkin_database *database)
{
    bitkin_collection *wide;
    FAILS(BITKIN_INVALID_INPUT,
          bitkin_create_planes_collection(database, "wide", 8, "model", NULL, 0, &wide));
    SAYS("bits must be 0");
    FAILS(BITKIN_DISK, bitkin_create_planes_collection(database, "wide", 0, "/none", NULL, 0, &wide));
    EXPECT(bitkin_create_planes_collection(database, "wide", 8 * SIZE, NULL, NULL, 0, &wide)
           == BITKIN_OK);
    EXPECT(bitkin_insert(wide, NULL, ROWS, codes, ROWS * SIZE, NULL, NULL) == BITKIN_OK);
    EXPECT(bitkin_compact(database) == BITKIN_OK);
    const uint8_t both[2 * SIZE] = {0xff, 0x10, [SIZE] = 0, 0, 0x81, 0x7e};
    bitkin_search_options options = {.mask = both, .mask_size = SIZE};
    uint64_t found[2 * K];
    uint32_t distances[2 * K];
    int64_t radius[2];
    for (int own = 0; own < 2; own++) {
        options.mask_size = (size_t)(own + 1) * SIZE;
        EXPECT(bitkin_search(wide, codes, 2 * SIZE, K, &options, found, distances, 2 * K, radius)
               == BITKIN_OK);
        for (int query = 0; query < 2; query++) {
            const uint8_t *mask = both + own * query * SIZE;
            uint32_t nearer = 0;
            for (int row = 0; row < ROWS; row++) {
                uint8_t a[SIZE], b[SIZE];
                for (int i = 0; i < SIZE; i++) {
                    a[i] = codes[query * SIZE + i] & mask[i];
                    b[i] = codes[row * SIZE + i] & mask[i];
                }
                uint32_t distance = apart(a, b);
                nearer += distance < distances[query * K + K - 1];
                for (int hit = 0; hit < K; hit++) {
                    EXPECT(found[query * K + hit] != (uint64_t)row
                           || distances[query * K + hit] == distance);
                }
            }
            EXPECT(nearer < K && radius[query] == distances[query * K + K - 1]);
        }
    }
    options.mask_size = SIZE - 1;
    FAILS(BITKIN_INVALID_INPUT,
          bitkin_search(wide, codes, SIZE, K, &options, found, distances, K, NULL));
    SAYS("and so must masks: 8 bytes");
    options = (bitkin_search_options){.mask = both + SIZE / 2, .mask_size = SIZE / 2};
    FAILS(BITKIN_INVALID_INPUT, bitkin_pairs(wide, 3, &options, NULL, see_pair, NULL, NULL));
    SAYS("a search for pairs in collection \"wide\" was given a mask");
    selections(wide);
    EXPECT(bitkin_collection_free(wide) == BITKIN_OK);
    EXPECT(bitkin_drop_collection(database, "wide") == BITKIN_OK);
}

int main(int count, char **arguments)
{
    EXPECT(count == 2);
    const char *directory = arguments[1];
    EXPECT(strlen(bitkin_version()) >= strlen("0.0.0"));

    bitkin_database *database, *other;
    FAILS(BITKIN_NOT_A_DATABASE, bitkin_open(directory, NULL, &database));
    FAILS(BITKIN_INVALID_INPUT, bitkin_create(NULL, NULL, &database));
    FAILS(BITKIN_INVALID_INPUT, bitkin_create(directory, NULL, NULL));
    bitkin_open_options options = {.sync_microseconds = 1000, .flush_rows = 1000};
    EXPECT(bitkin_create(directory, &options, &database) == BITKIN_OK);
    FAILS(BITKIN_LOCKED, bitkin_open(directory, NULL, &other));
    rows_and_searches(database);
    masks(database);

    /* A second reader, and what it may not do. */
    bitkin_collection *collection, *read;
    EXPECT(bitkin_sync(database) == BITKIN_OK);
    EXPECT(bitkin_open_read_only(directory, &other) == BITKIN_OK);
    EXPECT(bitkin_open_collection(other, "codes", &read) == BITKIN_OK);
    EXPECT(bitkin_open_collection(database, "codes", &collection) == BITKIN_OK);
    FAILS(BITKIN_NOT_FOUND, bitkin_open_collection(database, "code", &collection));
    SAYS("the database has codes");
    FAILS(BITKIN_READ_ONLY, bitkin_insert(read, NULL, 1, codes, SIZE, NULL, NULL));
    uint64_t before, after;
    bool changed;
    EXPECT(bitkin_count(read, NULL, &before) == BITKIN_OK);
    EXPECT(bitkin_insert(collection, NULL, 1, codes, SIZE, NULL, NULL) == BITKIN_OK);
    EXPECT(bitkin_refresh(other, &changed) == BITKIN_OK && changed);
    EXPECT(bitkin_count(read, NULL, &after) == BITKIN_OK && after == before + 1);
    EXPECT(bitkin_collection_free(read) == BITKIN_OK && bitkin_close(other) == BITKIN_OK);

    /* The whole database. */
    const char *name, *report;
    EXPECT(bitkin_collection_name(database, 0, &name) == BITKIN_OK && strcmp(name, "codes") == 0);
    EXPECT(bitkin_string_free(name) == BITKIN_OK);
    FAILS(BITKIN_NOT_FOUND, bitkin_collection_name(database, 1, &name));
    uint64_t problems = 1;
    EXPECT(bitkin_verify(database, &problems, &report) == BITKIN_OK);
    EXPECT(problems == 0 && report[0] == '\0' && bitkin_string_free(report) == BITKIN_OK);
    char copy[4096];
    snprintf(copy, sizeof copy, "%s-copy", directory);
    EXPECT(bitkin_backup(database, copy) == BITKIN_OK);
    EXPECT(bitkin_open_read_only(copy, &other) == BITKIN_OK && bitkin_close(other) == BITKIN_OK);

    EXPECT(bitkin_verify_directory(copy, &problems, &report) == BITKIN_OK && problems == 0);
    EXPECT(bitkin_string_free(report) == BITKIN_OK);
    FAILS(BITKIN_NOT_A_DATABASE, bitkin_verify_directory("/nowhere", &problems, NULL));
    char saved[4096];
    snprintf(saved, sizeof saved, "%s-saved", directory);
    uint64_t losses = 1;
    EXPECT(bitkin_repair(copy, saved, &losses, &report) == BITKIN_OK && losses == 0);
    HAS(report, "");
    FAILS(BITKIN_NOT_A_DATABASE, bitkin_repair(copy, saved, &losses, NULL));
    SAYS("not empty");
    EXPECT(bitkin_open_or_create(saved, NULL, &other) == BITKIN_OK);
    bitkin_totals totals;
    EXPECT(bitkin_database_stats(other, &totals, &report) == BITKIN_OK && report == NULL);
    EXPECT(totals.rows == after && totals.segment_bytes > 0);
    EXPECT(bitkin_close(other) == BITKIN_OK);

    /* What is closed says so, to threads that are at work on it too. */
    shared = collection;
    EXPECT(bitkin_upsert(collection, &(uint64_t){0}, 1, codes, SIZE, NULL, NULL) == BITKIN_OK);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        EXPECT(pthread_create(&threads[i], NULL, search_on, NULL) == 0);
    }
    EXPECT(bitkin_close(database) == BITKIN_OK);
    for (int i = 0; i < 3; i++) {
        EXPECT(pthread_join(threads[i], NULL) == 0);
    }
    FAILS(BITKIN_BAD_HANDLE, bitkin_close(database));
    FAILS(BITKIN_BAD_HANDLE, bitkin_sync(database));
    FAILS(BITKIN_CLOSED, bitkin_count(collection, NULL, &after));
    EXPECT(bitkin_collection_free(collection) == BITKIN_OK);
    EXPECT(bitkin_close(NULL) == BITKIN_OK);
    EXPECT(bitkin_open(directory, NULL, &database) == BITKIN_OK);
    EXPECT(bitkin_drop_collection(database, "codes") == BITKIN_OK);
    FAILS(BITKIN_NOT_FOUND, bitkin_drop_collection(database, "codes"));
    EXPECT(bitkin_close(database) == BITKIN_OK);
    puts("all is well");
    return 0;
}
