/* Pictures, by hash and by model: program DIRECTORY MODEL. An encoder library lies beside libbitkin. Prints
 * "all is well" at the end. */

#define _POSIX_C_SOURCE 200809L

#include "expect.h"
#include <math.h>
#include <pthread.h>
#include <sys/stat.h>

enum { SIDE = 96, K = 3, THREADS = 4, EACH = 4 };

struct picture {
    size_t size;
    uint8_t bytes[32 + SIDE * SIDE * 3];
};

/* A picture with something to see, another for every number; brighter by `light`, which its hash hardly minds. */
static bitkin_image draw(struct picture *picture, unsigned number, int light)
{
    int head = sprintf((char *)picture->bytes, "P6 %d %d 255\n", SIDE, SIDE);
    uint8_t *pixel = picture->bytes + head;
    double phase = 7.3 * number, fast = 0.05 + 0.013 * (number % 17), slow = 0.04 + 0.007 * (number % 23);
    for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE; x++) {
            double wave = sin(fast * x + phase) + sin(slow * y + 2 * phase)
                          + sin(0.002 * (number % 11 + 1) * x * y) + sin(0.1 * (x - y) + phase);
            int value = 118 + (int)(25 * wave) + light;
            for (int channel = 0; channel < 3; channel++) {
                *pixel++ = (uint8_t)value;
            }
        }
    }
    picture->size = (size_t)(pixel - picture->bytes);
    return (bitkin_image){.bytes = picture->bytes, .size = picture->size};
}

static void save(const char *path, const uint8_t *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    EXPECT(file != NULL && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

struct submitter {
    bitkin_picture_writer *writer;
    unsigned first;
};

/* Submits pictures, each under the id of its number, and waits for them. */
static void *submit(void *context)
{
    struct submitter *own = context;
    bitkin_ticket *tickets[EACH];
    static _Thread_local struct picture picture;
    for (unsigned i = 0; i < EACH; i++) {
        uint64_t id = own->first + i;
        bitkin_image image = draw(&picture, own->first + i, 0);
        WORKS(bitkin_picture_writer_submit(own->writer, &id, &image, NULL, &tickets[i]));
    }
    for (unsigned i = 0; i < EACH; i++) {
        uint64_t id = 0;
        WORKS(bitkin_ticket_wait(tickets[i], &id));
        EXPECT(id == own->first + i);
        FAILS(BITKIN_BAD_HANDLE, bitkin_ticket_wait(tickets[i], &id));
    }
    return NULL;
}

struct groups {
    uint64_t count;
    uint64_t kept, duplicate;
};

static bool see_group(void *context, uint64_t kept, const uint64_t *duplicates,
                      const uint32_t *distances, size_t count)
{
    struct groups *seen = context;
    EXPECT(count == 1 && distances[0] <= BITKIN_PDQ_RADIUS);
    seen->count++;
    seen->kept = kept;
    seen->duplicate = duplicates[0];
    return true;
}

static bool never(void *context, double share)
{
    (void)context;
    EXPECT(share >= 0 && share <= 1);
    return false;
}

static bool end_ingest(void *context, const bitkin_ingest_report *report)
{
    uint64_t *calls = context;
    EXPECT(report->done <= report->total);
    return ++*calls < 2;
}

static void by_hash(bitkin_database *database, const char *folder)
{
    bitkin_collection *pictures;
    WORKS(bitkin_create_pdq_collection(database, "pictures", NULL, 0, &pictures));
    const char *text;
    WORKS(bitkin_fingerprint(pictures, &text));
    EXPECT(strlen(text) == 64);
    WORKS(bitkin_string_free(text));
    uint32_t bits;
    WORKS(bitkin_bits(pictures, &bits));
    EXPECT(bits == 256);

    /* A picture, a copy of it, and another one. */
    static struct picture drawn[3];
    bitkin_image images[] = {draw(&drawn[0], 1, 0), draw(&drawn[1], 1, 20), draw(&drawn[2], 2, 0)};
    const char *const payloads[] = {"{\"year\": 2021}", NULL, NULL};
    uint64_t ids[3] = {7, 7, 7};
    WORKS(bitkin_insert_images(pictures, NULL, images, 3, payloads, ids));
    EXPECT(ids[0] == 0 && ids[1] == 1 && ids[2] == 2);
    uint8_t codes[3 * 32], code[32];
    WORKS(bitkin_encode_images(pictures, images, 3, codes, sizeof codes));
    WORKS(bitkin_get(pictures, 2, code, sizeof code, &text));
    EXPECT(memcmp(code, codes + 64, 32) == 0 && strstr(text, "\"quality\"") != NULL);
    HAS(text, "\"sha256\"");
    WORKS(bitkin_get(pictures, 0, NULL, 0, &text));
    HAS(text, "\"year\":2021");

    /* Searched for by picture. */
    uint64_t found[K];
    uint32_t distances[K], radius = BITKIN_PDQ_RADIUS;
    int64_t certified;
    bitkin_search_options near = {.radius = &radius};
    WORKS(bitkin_search_image(pictures, &images[1], K, &near, found, distances, K, &certified));
    EXPECT(found[0] == 0 && found[1] == 1 && distances[0] == 0 && distances[1] <= radius);
    EXPECT(found[2] == BITKIN_NO_ID && certified == BITKIN_PDQ_RADIUS);
    FAILS(BITKIN_INVALID_INPUT,
          bitkin_search_image(pictures, &images[1], K, NULL, found, distances, K - 1, NULL));

    /* What is no picture, or none of ours. Nothing of the call is in. */
    uint64_t rows;
    bitkin_image bad[] = {images[0], {.bytes = (const uint8_t *)"no picture", .size = 10}};
    FAILS(BITKIN_BAD_PICTURE, bitkin_insert_images(pictures, NULL, bad, 2, NULL, NULL));
    FAILS(BITKIN_BAD_PICTURE, bitkin_encode_images(pictures, bad + 1, 1, code, sizeof code));
    bad[1] = (bitkin_image){.bytes = images[0].bytes, .size = images[0].size / 2};
    FAILS(BITKIN_BAD_PICTURE, bitkin_insert_images(pictures, NULL, bad, 2, NULL, NULL));
    bad[1] = (bitkin_image){.bytes = images[0].bytes, .size = 0};
    FAILS(BITKIN_BAD_PICTURE, bitkin_insert_images(pictures, NULL, bad, 2, NULL, NULL));
    SAYS("empty");
    bad[1] = (bitkin_image){.bytes = NULL};
    FAILS(BITKIN_INVALID_INPUT, bitkin_insert_images(pictures, NULL, bad, 2, NULL, NULL));
    SAYS("neither bytes nor a path");
    bad[1] = (bitkin_image){.bytes = images[0].bytes, .path = "a"};
    FAILS(BITKIN_INVALID_INPUT, bitkin_insert_images(pictures, NULL, bad, 2, NULL, NULL));
    bad[1] = (bitkin_image){.path = "/nowhere/to/be.jpg"};
    FAILS(BITKIN_DISK, bitkin_insert_images(pictures, NULL, bad, 2, NULL, NULL));
    SAYS("/nowhere/to/be.jpg");
    FAILS(BITKIN_INVALID_INPUT, bitkin_insert_images(pictures, NULL, NULL, 2, NULL, NULL));
    FAILS(BITKIN_INVALID_INPUT, bitkin_insert_images(pictures, NULL, images, SIZE_MAX, NULL, NULL));
    FAILS(BITKIN_ALREADY_EXISTS, bitkin_insert_images(pictures, ids, images, 1, NULL, NULL));
    const char *const list[] = {"[1]"};
    FAILS(BITKIN_INVALID_INPUT, bitkin_insert_images(pictures, NULL, images, 1, list, NULL));
    FAILS(BITKIN_INVALID_INPUT, bitkin_encode_images(pictures, images, 3, codes, sizeof codes - 1));
    FAILS(BITKIN_INVALID_INPUT, bitkin_search_image(pictures, NULL, 1, NULL, found, distances, 1, NULL));
    WORKS(bitkin_insert_images(pictures, NULL, NULL, 0, NULL, NULL));
    WORKS(bitkin_count(pictures, NULL, &rows));
    EXPECT(rows == 3);

    /* Which are the same. */
    struct groups groups = {0};
    uint64_t count = 9;
    WORKS(bitkin_groups(pictures, BITKIN_PDQ_RADIUS, NULL, NULL, see_group, &groups, &count));
    EXPECT(count == 1 && groups.count == 1 && groups.kept == 0 && groups.duplicate == 1);
    WORKS(bitkin_groups(pictures, BITKIN_PDQ_RADIUS, NULL, never, see_group, &groups, &count));
    EXPECT(count == 0 && groups.count == 1);
    FAILS(BITKIN_INVALID_INPUT,
          bitkin_groups(pictures, BITKIN_PDQ_RADIUS, NULL, NULL, NULL, NULL, NULL));
    bitkin_search_options year = {.filter = "year = 2021"};
    WORKS(bitkin_groups(pictures, BITKIN_PDQ_RADIUS, &year, NULL, see_group, &groups, &count));
    EXPECT(count == 0);

    /* Brought by many threads. */
    bitkin_picture_writer *writer;
    FAILS(BITKIN_INVALID_INPUT, bitkin_picture_writer_open(pictures, 0, &writer));
    FAILS(BITKIN_INVALID_INPUT, bitkin_picture_writer_open(pictures, SIZE_MAX, &writer));
    FAILS(BITKIN_INVALID_INPUT, bitkin_picture_writer_open(pictures, 1, NULL));
    WORKS(bitkin_picture_writer_open(pictures, 2, &writer));
    pthread_t threads[THREADS];
    struct submitter submitters[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        submitters[i] = (struct submitter){writer, 100 + EACH * i};
        EXPECT(pthread_create(&threads[i], NULL, submit, &submitters[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        EXPECT(pthread_join(threads[i], NULL) == 0);
    }
    bitkin_ticket *ticket, *twice;
    bad[1] = (bitkin_image){.bytes = (const uint8_t *)"no picture", .size = 10};
    WORKS(bitkin_picture_writer_submit(writer, NULL, &bad[1], NULL, &ticket));
    WORKS(bitkin_picture_writer_submit(writer, ids, &images[0], NULL, &twice));
    FAILS(BITKIN_BAD_PICTURE, bitkin_ticket_wait(ticket, NULL));
    FAILS(BITKIN_ALREADY_EXISTS, bitkin_ticket_wait(twice, NULL));
    FAILS(BITKIN_INVALID_INPUT, bitkin_picture_writer_submit(writer, NULL, NULL, NULL, NULL));
    FAILS(BITKIN_BAD_HANDLE, bitkin_picture_writer_submit(NULL, NULL, &images[0], NULL, NULL));
    WORKS(bitkin_picture_writer_submit(writer, NULL, &images[0], "{\"last\": 1}", &ticket));
    WORKS(bitkin_picture_writer_submit(writer, NULL, &images[0], "{\"last\": 1}", &twice));
    WORKS(bitkin_ticket_free(twice));
    FAILS(BITKIN_BAD_HANDLE, bitkin_ticket_free(twice));
    WORKS(bitkin_picture_writer_free(writer));
    FAILS(BITKIN_BAD_HANDLE, bitkin_picture_writer_free(writer));
    FAILS(BITKIN_BAD_HANDLE, bitkin_picture_writer_submit(writer, NULL, &images[0], NULL, NULL));
    /* What was submitted is in, whether or not somebody asks; and whoever asks later is told. */
    WORKS(bitkin_count(pictures, "last = 1", &rows));
    EXPECT(rows == 2);
    WORKS(bitkin_ticket_wait(ticket, NULL));
    FAILS(BITKIN_BAD_HANDLE, bitkin_ticket_wait(NULL, NULL));
    WORKS(bitkin_ticket_free(NULL));
    WORKS(bitkin_picture_writer_free(NULL));
    WORKS(bitkin_count(pictures, NULL, &rows));
    EXPECT(rows == 3 + THREADS * EACH + 2);

    /* From files, one by one and by folders. Picture 1 is known already. */
    char path[4096], other[4200];
    snprintf(path, sizeof path, "%s/home", folder);
    EXPECT(mkdir(path, 0755) == 0);
    static struct picture fresh;
    for (unsigned number = 1; number < 60; number += 20) {
        bitkin_image image = draw(&fresh, number, 0);
        snprintf(other, sizeof other, "%s/%u.ppm", path, number);
        save(other, image.bytes, image.size);
    }
    bitkin_image file = {.path = other};
    WORKS(bitkin_insert_images(pictures, NULL, &file, 1, NULL, ids));
    WORKS(bitkin_get(pictures, ids[0], NULL, 0, &text));
    HAS(text, "41.ppm\"");
    snprintf(other, sizeof other, "%s/broken.jpg", path);
    save(other, (const uint8_t *)"\xff\xd8\xff nothing", 11);
    snprintf(other, sizeof other, "%s/notes.txt", path);
    save(other, (const uint8_t *)"nothing", 7);
    const char *const paths[] = {path, "/nowhere", NULL};
    bitkin_ingest_report report;
    uint64_t calls = 0;
    FAILS(BITKIN_DISK, bitkin_ingest(pictures, paths, 2, NULL, NULL, NULL, &report, NULL));
    FAILS(BITKIN_INVALID_INPUT, bitkin_ingest(pictures, paths + 2, 1, NULL, NULL, NULL, NULL, NULL));
    FAILS(BITKIN_INVALID_INPUT, bitkin_ingest(pictures, NULL, 1, NULL, NULL, NULL, NULL, NULL));
    bitkin_ingest_options strict = {.strict = 1, .threads = 1};
    FAILS(BITKIN_BAD_PICTURE,
          bitkin_ingest(pictures, paths, 1, &strict, NULL, NULL, &report, NULL));
    SAYS("broken.jpg");
    EXPECT(report.inserted == 1);
    WORKS(bitkin_ingest(pictures, paths, 1, NULL, end_ingest, &calls, &report, &text));
    EXPECT(calls >= 2 && report.done < report.total);
    WORKS(bitkin_string_free(text));
    WORKS(bitkin_ingest(pictures, paths, 1, NULL, NULL, NULL, &report, &text));
    EXPECT(report.total == 5 && report.done == 5 && report.known == 3 && report.skipped == 1);
    HAS(text, "broken.jpg: ");

    WORKS(bitkin_collection_free(pictures));
}

static void by_model(bitkin_database *database, const char *model)
{
    bitkin_collection *pictures, *second;
    const char *const index[] = {"label:text"};
    FAILS(BITKIN_DISK, bitkin_create_model_collection(database, "colours", "/nowhere", NULL, 0, NULL));
    FAILS(BITKIN_INVALID_INPUT, bitkin_create_model_collection(database, "colours", NULL, NULL, 0, NULL));
    FAILS(BITKIN_INVALID_INPUT,
          bitkin_create_model_collection(database, "colours", __FILE__, NULL, 0, NULL));
    WORKS(bitkin_create_model_collection(database, "colours", model, index, 1, &pictures));
    const char *text;
    WORKS(bitkin_collection_index(pictures, 0, &text));
    HAS(text, "label:text");
    FAILS(BITKIN_NOT_FOUND, bitkin_collection_index(pictures, 1, &text));

    static const uint8_t red[] = "P6 1 1 255\n\xff\x00\x00", brown[] = "P6 1 1 255\n\x80\x40\x00";
    bitkin_image images[] = {{.bytes = red, .size = 14}, {.bytes = brown, .size = 14}};
    EXPECT(setenv("BITKIN_ENCODER", "/nowhere/libbitkin_encoder.so", 1) == 0);
    FAILS(BITKIN_NO_ENCODER, bitkin_insert_images(pictures, NULL, images, 2, NULL, NULL));
    SAYS("not installed");
    FAILS(BITKIN_NO_ENCODER, bitkin_open_encoder(pictures, NULL, BITKIN_DEVICE_CPU));
    EXPECT(unsetenv("BITKIN_ENCODER") == 0);
    FAILS(BITKIN_INVALID_INPUT, bitkin_open_encoder(pictures, NULL, 2));

    /* Opened at the first picture, by the library that lies beside this one; and then by hand. */
    WORKS(bitkin_insert_images(pictures, NULL, images, 2, NULL, NULL));
    uint8_t code[3];
    for (int time = 0; time < 3; time++) {
        WORKS(bitkin_encode_images(pictures, images + 1, 1, code, sizeof code));
        EXPECT(code[0] == 0x80 && code[1] == 0x40 && code[2] == 0);
    }
    WORKS(bitkin_open_encoder(pictures, "/nowhere", BITKIN_DEVICE_CPU));
    uint64_t id;
    uint32_t distance;
    WORKS(bitkin_search_image(pictures, images, 1, NULL, &id, &distance, 1, NULL));
    EXPECT(id == 0 && distance == 0);
    WORKS(bitkin_open_collection(database, "colours", &second));
    FAILS(BITKIN_INVALID_INPUT, bitkin_search_image(second, images, 1, NULL, &id, &distance, 1, NULL));
    SAYS("opened a third time");
    WORKS(bitkin_collection_free(second));
    WORKS(bitkin_collection_free(pictures));

    /* Codes alone. */
    WORKS(bitkin_create_collection(database, "codes", 24, NULL, 0, &second));
    FAILS(BITKIN_INVALID_INPUT, bitkin_insert_images(second, NULL, images, 2, NULL, NULL));
    SAYS("has no model");
    FAILS(BITKIN_INVALID_INPUT, bitkin_picture_writer_open(second, 1, NULL));
    WORKS(bitkin_fingerprint(second, &text));
    EXPECT(text == NULL);
    WORKS(bitkin_collection_free(second));
}

int main(int count, char **arguments)
{
    EXPECT(count == 3);
    bitkin_database *database;
    WORKS(bitkin_open_or_create(arguments[1], NULL, &database));
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/..", arguments[1]);
    by_hash(database, folder);
    by_model(database, arguments[2]);
    WORKS(bitkin_close(database));
    puts("all is well");
    return 0;
}
