/* Bitkin: an embedded database of binary codes, searched exactly by Hamming distance.
 *
 * A code of b bits, 8 to 65,536, is ceil(b / 8) bytes; bit i is bit i % 8 of byte i / 8, and bits beyond
 * b are 0. Many codes are one array, row by row. Texts are UTF-8 and end with a zero byte.
 *
 * Every function that can fail returns a status; where that is not BITKIN_OK, bitkin_error_message says
 * what was wrong, and nothing was written to where its results go. Nothing is ever printed, and nothing
 * unwinds or exits.
 *
 * What a handle points to is nobody's business: it is a number that was never given before. One that was
 * freed, or is of another kind, is answered with BITKIN_BAD_HANDLE, in any function. Freeing NULL does
 * nothing.
 *
 * Threads: all functions may be called by any number of threads at once, on the same handles too, unless
 * one says otherwise. Processes: handles do not survive a fork; open the database anew in the child.
 */


#ifndef BITKIN_H
#define BITKIN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

// The distance within which two pictures are taken for the same one, by their perceptual hashes. Those of
// pictures with little to see collide: filter by "quality >= 50".
#define BITKIN_PDQ_RADIUS 31

// For `device`: the GPU if there is one.
#define BITKIN_DEVICE_AUTO 0

// For `device`: the processor.
#define BITKIN_DEVICE_CPU 1

// The id that stands where there is no hit; no row can have it.
#define BITKIN_NO_ID UINT64_MAX

// The distance that stands where there is no hit.
#define BITKIN_NO_DISTANCE UINT32_MAX

// For `way`: as the planner thinks best.
#define BITKIN_WAY_PLANNED 0

// For `way`: every code is compared.
#define BITKIN_WAY_SCAN 1

// For `way`: rows are looked up in search tables, where there are any.
#define BITKIN_WAY_TABLES 2

// How a call went.
typedef enum bitkin_status {
  // Well.
  BITKIN_OK = 0,
  // What was asked for is not there.
  BITKIN_NOT_FOUND = 1,
  // A collection of that name, or a row of that id, exists.
  BITKIN_ALREADY_EXISTS = 2,
  // An argument cannot be used.
  BITKIN_INVALID_INPUT = 3,
  // A file of the database is damaged or missing.
  BITKIN_CORRUPT = 4,
  // The database is open for writing elsewhere.
  BITKIN_LOCKED = 5,
  // The directory holds no database.
  BITKIN_NOT_A_DATABASE = 6,
  // The database was written by a newer program.
  BITKIN_UNKNOWN_FORMAT = 7,
  // The database was opened read-only.
  BITKIN_READ_ONLY = 8,
  // The database was closed.
  BITKIN_CLOSED = 9,
  // A file cannot be read or written.
  BITKIN_DISK = 10,
  // No handle of the kind asked for, or one that was freed.
  BITKIN_BAD_HANDLE = 11,
  // Anything else; the message says what.
  BITKIN_FAILED = 12,
  // A fault in Bitkin itself. Please report it, with the message.
  BITKIN_FAULT = 13,
  // A picture is damaged, of an unknown format, or too large.
  BITKIN_BAD_PICTURE = 14,
  // The encoder that pictures need is not installed, or is of another version.
  BITKIN_NO_ENCODER = 15,
} bitkin_status;

// A collection of codes of one width, by id.
typedef struct bitkin_collection bitkin_collection;

// An open database.
typedef struct bitkin_database bitkin_database;

// The answers to the queries of a radius search.
typedef struct bitkin_hits bitkin_hits;

// Inserts pictures that many threads bring, encoded and committed together with whatever else is there.
typedef struct bitkin_picture_writer bitkin_picture_writer;

// The rows of a collection at one moment, one after another.
typedef struct bitkin_rows bitkin_rows;

// What will become of a picture.
typedef struct bitkin_ticket bitkin_ticket;

// Sizes of a collection.
typedef struct bitkin_stats {
  // Rows that are not deleted.
  uint64_t rows;
  // Deleted rows that are still in segments.
  uint64_t deleted_rows;
  // Rows that are in memory and not yet in a segment.
  uint64_t memory_rows;
  // Segments.
  uint64_t segments;
  // Bytes that its segments take on disk: ids,
  uint64_t id_bytes;
  // codes,
  uint64_t code_bytes;
  // payloads,
  uint64_t payload_bytes;
  // search tables and indexes of payloads,
  uint64_t index_bytes;
  // and what goes with them.
  uint64_t overhead_bytes;
} bitkin_stats;

// How a database is opened for writing. All zero is the usual way.
typedef struct bitkin_open_options {
  // When a commit is on disk for certain: 0, before the call returns; otherwise at most so many
  // microseconds later, unless the machine stops before.
  uint64_t sync_microseconds;
  // Bytes of rows kept in memory before they are written into segments; 0 for the usual number.
  uint64_t memory_limit;
  // Rows kept in memory before they are written into segments; 0 for the usual number.
  uint64_t flush_rows;
} bitkin_open_options;

// Sizes of a database, over all its collections.
typedef struct bitkin_totals {
  // Rows that are not deleted.
  uint64_t rows;
  // Bytes that rows take in memory that are not yet in a segment.
  uint64_t memory_bytes;
  // Bytes of logs on disk,
  uint64_t log_bytes;
  // and of segments.
  uint64_t segment_bytes;
} bitkin_totals;

// A picture file: its bytes, or where it lies. JPEG, PNG, WebP, GIF, BMP, TIFF and PNM are read.
typedef struct bitkin_image {
  // The bytes of the file; NULL if `path` says where they are.
  const uint8_t *bytes;
  // How many there are.
  size_t size;
  // The file; NULL if `bytes` are given.
  const char *path;
} bitkin_image;

// How pictures are ingested. All zero is the usual way.
typedef struct bitkin_ingest_options {
  // New pictures to insert, at most; 0 for no bound.
  uint64_t limit;
  // Threads that decode; 0 for as many as there are cores.
  uint32_t threads;
  // 0 to skip pictures that cannot be used; 1 to stop at the first, with BITKIN_BAD_PICTURE.
  uint32_t strict;
} bitkin_ingest_options;

// How far an ingest has come, or what it did.
typedef struct bitkin_ingest_report {
  // Files in the sources, those that are no pictures included.
  uint64_t total;
  // Files dealt with.
  uint64_t done;
  // Pictures inserted; every one of them is committed.
  uint64_t inserted;
  // Pictures passed over because the collection held their content already, or because it came twice.
  uint64_t known;
  // Pictures that could not be used.
  uint64_t skipped;
} bitkin_ingest_report;

// Is told how far an ingest has come; false ends it, and what was decoded by then is committed first. It must
// not unwind, and may call any function of Bitkin.
typedef bool (*bitkin_ingest_callback)(void *context, const struct bitkin_ingest_report *report);

// How is searched. All zero is the usual way: exactly, among all rows.
typedef struct bitkin_search_options {
  // Only rows that pass are found: a condition in SQL on their payloads. NULL for all rows.
  const char *filter;
  // Only rows at that distance or nearer are found, in functions that have no argument for that; NULL for
  // any distance.
  const uint32_t *radius;
  // Each query ends when about so many rows were compared; 0 for no such bound.
  uint64_t candidates;
  // Each query ends after about so many microseconds; 0 for no such bound. Not together with
  // `candidates`.
  uint64_t microseconds;
  // Threads that share the work; 0 for as many as there are cores. Answers are the same for any.
  uint32_t threads;
  // BITKIN_WAY_PLANNED, or another for measurements. Answers are the same for any.
  uint32_t way;
  // The bits that count, laid out as a code: one mask for all queries, or one for each of them, one after
  // the other. NULL for all bits. Searches for pairs take none.
  const uint8_t *mask;
  // Bytes of `mask`: those of a code, or so many for each query.
  size_t mask_size;
} bitkin_search_options;

// Is told which share of the work is done, 0 to 1; false ends it. It must not unwind, and may call any
// function of Bitkin.
typedef bool (*bitkin_progress_callback)(void *context, double share);

// Receives a pair of rows, a below b; false ends the search. It must not unwind, and may call any
// function of Bitkin.
typedef bool (*bitkin_pair_callback)(void *context, uint64_t a, uint64_t b, uint32_t distance);

// Receives a row that deduplication keeps, and the `count` rows, by id, at such distances of it, that it
// stands for; the arrays are valid during the call. False ends it. It must not unwind, and may call any
// function of Bitkin.
typedef bool (*bitkin_group_callback)(void *context,
                                      uint64_t kept,
                                      const uint64_t *duplicates,
                                      const uint32_t *distances,
                                      size_t count);

// Receives a hit; false ends the search. It must not unwind, and may call any function of Bitkin.
typedef bool (*bitkin_hit_callback)(void *context, uint64_t id, uint32_t distance);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Frees a handle of a collection; the collection stays.
//
// Threads: any. Calls that are at work on it go on.
enum bitkin_status bitkin_collection_free(struct bitkin_collection *collection);

// Gives the width of its codes in bits.
//
// Threads: any.
//
// # Safety
// `bits` is NULL or points to a number.
enum bitkin_status bitkin_bits(const struct bitkin_collection *collection, uint32_t *bits);

// Gives, in `field`, what is declared for fast filtering as number `number`, from 0: FIELD:KIND, as
// bitkin_create_collection takes it; BITKIN_NOT_FOUND beyond the last. Free it with bitkin_string_free.
//
// Threads: any.
//
// # Safety
// `field` is NULL or points to a pointer.
enum bitkin_status bitkin_collection_index(const struct bitkin_collection *collection,
                                           size_t number,
                                           const char **field);

// Gives the number of its rows, or of those that pass `filter`, a condition in SQL on their payloads;
// NULL for all, which takes no time.
//
// Threads: any.
//
// # Safety
// `filter` is NULL or ends with a zero byte; `rows` is NULL or points to a number.
enum bitkin_status bitkin_count(const struct bitkin_collection *collection,
                                const char *filter,
                                uint64_t *rows);

// Gives its sizes.
//
// Threads: any.
//
// # Safety
// `stats` is NULL or points to where they go.
enum bitkin_status bitkin_collection_stats(const struct bitkin_collection *collection,
                                           struct bitkin_stats *stats);

// Writes a collection anew without its deleted rows. Reads and writes go on meanwhile.
//
// Threads: any.
enum bitkin_status bitkin_collection_compact(struct bitkin_collection *collection);

// Inserts rows, all or none, durably.
//
// * `ids`: one a row, new to the collection, in any order; NULL assigns those that follow the largest one.
// * `codes`: `codes_size` bytes, which must be those of `rows` codes.
// * `payloads`: JSON for each row, or NULL; NULL for none at all.
// * `assigned`: room for `rows` ids, the rows', or NULL.
//
// Threads: any.
//
// # Safety
// Each pointer is NULL or points to what is said, and nobody writes there meanwhile; payloads end with a
// zero byte.
enum bitkin_status bitkin_insert(struct bitkin_collection *collection,
                                 const uint64_t *ids,
                                 size_t rows,
                                 const uint8_t *codes,
                                 size_t codes_size,
                                 const char *const *payloads,
                                 uint64_t *assigned);

// Inserts rows in place of those that have the same ids, all or none, durably. Those lose their payloads.
// Arguments are as for bitkin_insert, but ids must be given; `replaced`, which may be NULL, receives how
// many there were.
//
// Threads: any.
//
// # Safety
// As for bitkin_insert.
enum bitkin_status bitkin_upsert(struct bitkin_collection *collection,
                                 const uint64_t *ids,
                                 size_t rows,
                                 const uint8_t *codes,
                                 size_t codes_size,
                                 const char *const *payloads,
                                 uint64_t *replaced);

// Deletes the rows of these ids, all or none, durably; `deleted`, which may be NULL, receives how many
// there were.
//
// Threads: any.
//
// # Safety
// `ids` is NULL or points to `count` ids that nobody writes meanwhile; `deleted` is NULL or points to a
// number.
enum bitkin_status bitkin_delete(struct bitkin_collection *collection,
                                 const uint64_t *ids,
                                 size_t count,
                                 uint64_t *deleted);

// Deletes the rows that pass `filter`, a condition in SQL on their payloads, all or none, durably;
// `deleted`, which may be NULL, receives how many there were.
//
// Threads: any.
//
// # Safety
// `filter` is NULL or ends with a zero byte; `deleted` is NULL or points to a number.
enum bitkin_status bitkin_delete_where(struct bitkin_collection *collection,
                                       const char *filter,
                                       uint64_t *deleted);

// Gives the code of the row of `id` in `code`, `code_size` bytes, and its payload in `payload`, NULL if
// it has none. Both may be NULL. BITKIN_NOT_FOUND if there is no such row. Free the payload with
// bitkin_string_free.
//
// Threads: any.
//
// # Safety
// `code` is NULL or has room for `code_size` bytes; `payload` is NULL or points to a pointer.
enum bitkin_status bitkin_get(const struct bitkin_collection *collection,
                              uint64_t id,
                              uint8_t *code,
                              size_t code_size,
                              const char **payload);

// Makes a database in a directory that is not there or empty, and opens it for writing. `options` may be
// NULL. Close it with bitkin_close.
//
// Threads: any.
//
// # Safety
// `directory` is NULL or ends with a zero byte; `options` and `database` are NULL or point to what they
// are said to.
enum bitkin_status bitkin_create(const char *directory,
                                 const struct bitkin_open_options *options,
                                 struct bitkin_database **database);

// Opens a database for writing; one handle, in all processes, may. `options` may be NULL. Close it with
// bitkin_close.
//
// Threads: any.
//
// # Safety
// As for bitkin_create.
enum bitkin_status bitkin_open(const char *directory,
                               const struct bitkin_open_options *options,
                               struct bitkin_database **database);

// Opens a database for writing, and makes it if the directory is not there or empty. `options` may be NULL.
// Close it with bitkin_close.
//
// Threads: any.
//
// # Safety
// As for bitkin_create.
enum bitkin_status bitkin_open_or_create(const char *directory,
                                         const struct bitkin_open_options *options,
                                         struct bitkin_database **database);

// Opens a database for reading, beside whoever writes it. It shows the moment of opening, or of the last
// bitkin_refresh. Close it with bitkin_close.
//
// Threads: any.
//
// # Safety
// As for bitkin_create.
enum bitkin_status bitkin_open_read_only(const char *directory,
                                         struct bitkin_database **database);

// Closes a database, once the calls that are at work on it are done, and frees its handle, whatever the
// status. The handles of its collections answer BITKIN_CLOSED from then on; free them too.
//
// Threads: any.
enum bitkin_status bitkin_close(struct bitkin_database *database);

// Makes a collection of codes of `bits` bits, 8 to 65,536, durably, and gives a handle of it in
// `collection`, which may be NULL. Free it with bitkin_collection_free.
//
// `index` declares `index_count` payload fields for fast filtering, each as FIELD:KIND, where the kind is
// int, float, text or bool; NULL and 0 for none.
//
// Threads: any.
//
// # Safety
// `name` and the texts of `index` are NULL or end with a zero byte; `index` is NULL or points to so many;
// `collection` is NULL or points to a pointer.
enum bitkin_status bitkin_create_collection(struct bitkin_database *database,
                                            const char *name,
                                            uint32_t bits,
                                            const char *const *index,
                                            size_t index_count,
                                            struct bitkin_collection **collection);

// Makes a collection of pictures whose codes are perceptual hashes of 256 bits (PDQ), which need no model:
// copies of a picture lie within BITKIN_PDQ_RADIUS of each other. Otherwise as bitkin_create_collection.
//
// Threads: any.
//
// # Safety
// As for bitkin_create_collection.
enum bitkin_status bitkin_create_pdq_collection(struct bitkin_database *database,
                                                const char *name,
                                                const char *const *index,
                                                size_t index_count,
                                                struct bitkin_collection **collection);

// Makes a collection of pictures whose codes are made by the model in the file `model`, which is copied into
// the database. Otherwise as bitkin_create_collection. To encode pictures takes the encoder library: see
// bitkin_open_encoder.
//
// Threads: any.
//
// # Safety
// `model` is NULL or ends with a zero byte; otherwise as for bitkin_create_collection.
enum bitkin_status bitkin_create_model_collection(struct bitkin_database *database,
                                                  const char *name,
                                                  const char *model,
                                                  const char *const *index,
                                                  size_t index_count,
                                                  struct bitkin_collection **collection);

// Makes a collection whose codes are stored bit by bit, too, as many bytes again, so that searches with a
// mask read its bits and no others: for wide codes. The codes have `bits` bits, or, if `model` is not NULL, are
// made by the model in that file, and `bits` is 0. Otherwise as bitkin_create_collection.
//
// Threads: any.
//
// # Safety
// As for bitkin_create_model_collection.
enum bitkin_status bitkin_create_planes_collection(struct bitkin_database *database,
                                                   const char *name,
                                                   uint32_t bits,
                                                   const char *model,
                                                   const char *const *index,
                                                   size_t index_count,
                                                   struct bitkin_collection **collection);

// Gives a handle of the collection of that name. Free it with bitkin_collection_free.
//
// Threads: any.
//
// # Safety
// As for bitkin_create_collection.
enum bitkin_status bitkin_open_collection(struct bitkin_database *database,
                                          const char *name,
                                          struct bitkin_collection **collection);

// Gives the name of the collection made as number `number` of those that there are, from 0, in `name`;
// BITKIN_NOT_FOUND beyond the last. Free it with bitkin_string_free.
//
// Threads: any.
//
// # Safety
// `name` is NULL or points to a pointer.
enum bitkin_status bitkin_collection_name(struct bitkin_database *database,
                                          size_t number,
                                          const char **name);

// Takes a collection away with all its rows, durably.
//
// Threads: any.
//
// # Safety
// `name` is NULL or ends with a zero byte.
enum bitkin_status bitkin_drop_collection(struct bitkin_database *database, const char *name);

// Gives the sizes of a database, and in `failure`, which may be NULL, why the last flush or merge in the
// background failed: NULL if none did. Nothing is lost by that, and it is tried again. Free the text with
// bitkin_string_free.
//
// Threads: any.
//
// # Safety
// `stats` and `failure` are NULL or point to what they are said to.
enum bitkin_status bitkin_database_stats(const struct bitkin_database *database,
                                         struct bitkin_totals *stats,
                                         const char **failure);

// Returns once every commit before it is on disk for certain.
//
// Threads: any.
enum bitkin_status bitkin_sync(struct bitkin_database *database);

// Writes the rows in memory into segments, with their search tables.
//
// Threads: any.
enum bitkin_status bitkin_flush(struct bitkin_database *database);

// Writes all collections anew without their deleted rows: what was deleted is in no file any more. Reads
// and writes go on meanwhile.
//
// Threads: any.
enum bitkin_status bitkin_compact(struct bitkin_database *database);

// In a database that is open read-only: looks for newer commits, and says in `changed`, which may be
// NULL, whether there were any.
//
// Threads: any.
//
// # Safety
// `changed` is NULL or points to a bool.
enum bitkin_status bitkin_refresh(struct bitkin_database *database,
                                  bool *changed);

// Copies the database as it is at one moment into a new or empty directory.
//
// Threads: any.
//
// # Safety
// `directory` is NULL or ends with a zero byte.
enum bitkin_status bitkin_backup(struct bitkin_database *database, const char *directory);

// Reads and checks all that the database holds on disk. Says in `problems` how many things are wrong,
// and in `report`, one in a line, which; that is empty if none are. Either may be NULL. Free the
// report with bitkin_string_free.
//
// Threads: any.
//
// # Safety
// `problems` and `report` are NULL or point to what they are said to.
enum bitkin_status bitkin_verify(struct bitkin_database *database,
                                 uint64_t *problems,
                                 const char **report);

// Reads and checks the database in `directory` as bitkin_verify does, without opening it: also one that
// cannot be opened any more.
//
// Threads: any.
//
// # Safety
// `directory` is NULL or ends with a zero byte; otherwise as for bitkin_verify.
enum bitkin_status bitkin_verify_directory(const char *directory,
                                           uint64_t *problems,
                                           const char **report);

// Saves what is whole of the database in `directory`, which nobody may be writing, into a new database in
// `destination`, a new or empty directory. Nothing is written to `directory`. Says in `losses` how many
// things could not be saved, and in `report`, one in a line, which. Either may be NULL. Free the report
// with bitkin_string_free.
//
// Threads: any.
//
// # Safety
// `directory` and `destination` are NULL or end with a zero byte; otherwise as for bitkin_verify.
enum bitkin_status bitkin_repair(const char *directory,
                                 const char *destination,
                                 uint64_t *losses,
                                 const char **report);

// Gives a writer of pictures, with so many threads that decode, at least 1. Free it with
// bitkin_picture_writer_free.
//
// Threads: any.
//
// # Safety
// `writer` is NULL or points to a pointer.
enum bitkin_status bitkin_picture_writer_open(struct bitkin_collection *collection,
                                              size_t decoders,
                                              struct bitkin_picture_writer **writer);

// Hands a picture to a writer, and returns at once unless many are under way. Pictures are inserted in the
// order in which they come.
//
// * `id`: NULL assigns the one that follows the largest.
// * `payload`: as for bitkin_insert_images; may be NULL.
// * `ticket`: receives what tells the outcome, for bitkin_ticket_wait; NULL, and nobody will know it.
//
// Threads: any, on the same writer too.
//
// # Safety
// `image` is as for bitkin_encode_images; `id` and `ticket` are NULL or point to what they are said to;
// `payload` is NULL or ends with a zero byte.
enum bitkin_status bitkin_picture_writer_submit(struct bitkin_picture_writer *writer,
                                                const uint64_t *id,
                                                const struct bitkin_image *image,
                                                const char *payload,
                                                struct bitkin_ticket **ticket);

// Waits until the picture of a ticket is committed, gives its id in `id`, which may be NULL, and frees the
// ticket, whatever the status. That is of this picture alone.
//
// Threads: any.
//
// # Safety
// `id` is NULL or points to a number.
enum bitkin_status bitkin_ticket_wait(struct bitkin_ticket *ticket,
                                      uint64_t *id);

// Frees a ticket that nobody will wait for. Its picture is inserted all the same.
//
// Threads: any.
enum bitkin_status bitkin_ticket_free(struct bitkin_ticket *ticket);

// Waits for all pictures that were submitted, and frees the writer. Tickets stay good.
//
// Threads: any. If another thread is just submitting, the last of them waits.
enum bitkin_status bitkin_picture_writer_free(struct bitkin_picture_writer *writer);

// Inserts all pictures of `path_count` files, folders and .tar archives whose content is new to the
// collection, in commits of some hundred. Their payloads hold `source`, `sha256`, and the folder's name as
// `label`. Called again, it goes on where it ended.
//
// * `options`: NULL for the usual way.
// * `progress`: may be NULL; is called after each file, with `context`.
// * `report`: may be NULL. It is also given when the ingest fails on the way: what it counts as inserted is
//   committed and stays.
// * `skipped`: may be NULL; which pictures could not be used and why, one in a line. Free it with
//   bitkin_string_free.
//
// Threads: any; `progress` is called on the calling one.
//
// # Safety
// `paths` is NULL or points to so many texts, each of which ends with a zero byte; `options`, `report` and
// `skipped` are NULL or point to what they are said to; `progress` may be called with `context`.
enum bitkin_status bitkin_ingest(struct bitkin_collection *collection,
                                 const char *const *paths,
                                 size_t path_count,
                                 const struct bitkin_ingest_options *options,
                                 bitkin_ingest_callback progress,
                                 void *context,
                                 struct bitkin_ingest_report *report,
                                 const char **skipped);

// Frees a text that a function gave. Anything else, and a text that was freed before, is
// BITKIN_BAD_HANDLE; NULL does nothing.
//
// Threads: any.
enum bitkin_status bitkin_string_free(const char *text);

// Gives every pair of rows within `radius` of each other to `each`, with `context`, each pair once, in no
// order, until that says false: none is kept. `options` may be NULL; a budget has no effect. `progress`, which
// may be NULL, is called with `context` from time to time. `found`, which may be NULL, receives how many pairs
// there were.
//
// Threads: any; `each` and `progress` are called on the calling one.
//
// # Safety
// `options` and its filter are as for bitkin_search; `found` is NULL or points to a number; `each` and
// `progress` may be called with `context`.
enum bitkin_status bitkin_pairs(const struct bitkin_collection *collection,
                                uint32_t radius,
                                const struct bitkin_search_options *options,
                                bitkin_progress_callback progress,
                                bitkin_pair_callback each,
                                void *context,
                                uint64_t *found);

// Groups rows around some that are kept, and gives each group to `each`, with `context`, by the id of the row
// that is kept, until that says false. No two rows that are kept are within `radius` of each other, and every
// duplicate is within it of the row that stands for it: deleting all duplicates leaves no two rows within
// `radius`, and takes none away that is far from all that stay. Rows that are near no other are in no group.
//
// `options` and `progress` are as for bitkin_pairs; if `progress` says false, no group is given. `found`, which
// may be NULL, receives how many groups there are.
//
// Threads: any; `each` and `progress` are called on the calling one.
//
// # Safety
// As for bitkin_pairs.
enum bitkin_status bitkin_groups(const struct bitkin_collection *collection,
                                 uint32_t radius,
                                 const struct bitkin_search_options *options,
                                 bitkin_progress_callback progress,
                                 bitkin_group_callback each,
                                 void *context,
                                 uint64_t *found);

// Opens what makes the codes of the collection's pictures, on `device`, BITKIN_DEVICE_AUTO or
// BITKIN_DEVICE_CPU. Without it, the first function that needs it opens it with BITKIN_DEVICE_AUTO; it is kept
// with the handle either way.
//
// A model needs the encoder library. It is the one that the environment variable BITKIN_ENCODER names, else
// the one in `folder`, which may be NULL, else beside this library, else beside the program; loading it
// runs its code. BITKIN_NO_ENCODER if it is nowhere. Perceptual hashes need none.
//
// Threads: any.
//
// # Safety
// `folder` is NULL or ends with a zero byte.
enum bitkin_status bitkin_open_encoder(struct bitkin_collection *collection,
                                       const char *folder,
                                       uint32_t device);

// Gives, in `fingerprint`, 64 hexadecimal digits that name the model or the hash that makes the collection's
// codes; NULL for a collection of codes alone. Free it with bitkin_string_free.
//
// Threads: any.
//
// # Safety
// `fingerprint` is NULL or points to a pointer.
enum bitkin_status bitkin_fingerprint(const struct bitkin_collection *collection,
                                      const char **fingerprint);

// Gives the codes of `count` pictures in `codes`, row by row: `codes_size` bytes, at least those of so many
// codes. BITKIN_BAD_PICTURE for the first that cannot be used. The codes serve any search.
//
// Threads: any.
//
// # Safety
// `images` is NULL or points to so many, each with what it is said to hold, whose paths end with a zero byte;
// `codes` is NULL or has room for `codes_size` bytes.
enum bitkin_status bitkin_encode_images(const struct bitkin_collection *collection,
                                        const struct bitkin_image *images,
                                        size_t count,
                                        uint8_t *codes,
                                        size_t codes_size);

// Finds the `k` pictures nearest to one, as bitkin_search does with its code.
//
// Threads: any.
//
// # Safety
// `image` is as for bitkin_encode_images, everything else as for bitkin_search.
enum bitkin_status bitkin_search_image(const struct bitkin_collection *collection,
                                       const struct bitkin_image *image,
                                       size_t k,
                                       const struct bitkin_search_options *options,
                                       uint64_t *ids,
                                       uint32_t *distances,
                                       size_t capacity,
                                       int64_t *certified_radius);

// Inserts `count` pictures, all or none, durably.
//
// * `ids`: one a picture, new to the collection, in any order; NULL assigns those that follow the largest one.
// * `payloads`: a JSON object for each, or NULL; NULL for none at all. The `sha256` of the file is added to
//   each, its `source` if it was given by path, and its `quality` where the encoder judges it. Content that
//   is known already is inserted all the same.
// * `assigned`: room for `count` ids, the rows', or NULL.
//
// Threads: any. Pictures that come one by one from many threads are faster through a
// bitkin_picture_writer; folders and archives through bitkin_ingest.
//
// # Safety
// `images` is as for bitkin_encode_images, everything else as for bitkin_insert.
enum bitkin_status bitkin_insert_images(struct bitkin_collection *collection,
                                        const uint64_t *ids,
                                        const struct bitkin_image *images,
                                        size_t count,
                                        const char *const *payloads,
                                        uint64_t *assigned);

// Begins to go over the rows by ascending id, as they are at this moment: all, or those that pass
// `filter`, a condition in SQL on their payloads, unless that is NULL. Free it with bitkin_rows_free.
//
// Threads: any.
//
// # Safety
// `filter` is NULL or ends with a zero byte; `rows` is NULL or points to a pointer.
enum bitkin_status bitkin_rows_begin(const struct bitkin_collection *collection,
                                     const char *filter,
                                     struct bitkin_rows **rows);

// Gives the next row: whether there is one in `more`, and if so its id, its code in `code`, `code_size`
// bytes, and its payload in `payload`, NULL if it has none. All but `more` may be NULL. Free the payload
// with bitkin_string_free.
//
// Threads: any; several share the rows among them.
//
// # Safety
// `code` is NULL or has room for `code_size` bytes; the others are NULL or point to what they are said to.
enum bitkin_status bitkin_rows_next(struct bitkin_rows *rows,
                                    bool *more,
                                    uint64_t *id,
                                    uint8_t *code,
                                    size_t code_size,
                                    const char **payload);

// Frees an iterator of rows.
//
// Threads: any. A call that is at work on it goes on.
enum bitkin_status bitkin_rows_free(struct bitkin_rows *rows);

// Finds the `k` rows nearest to each query, by (distance, id).
//
// * `queries`: `queries_size` bytes, a whole number of codes.
// * `options`: NULL for the usual way.
// * `ids`, `distances`: room for `capacity` values each, at least k for each query; the hits of query i
//   begin at i * k. Where there are fewer than k rows, BITKIN_NO_ID and BITKIN_NO_DISTANCE follow.
// * `certified_radius`: room for a number a query, or NULL. Every row at that distance or nearer is among
//   the hits or ranks after the k-th; -1 if nothing is proven. Without a budget, all that could be asked
//   for is proven.
//
// Threads: any.
//
// # Safety
// Each pointer is NULL or points to what is said, and nobody else writes there meanwhile; the filter ends
// with a zero byte.
enum bitkin_status bitkin_search(const struct bitkin_collection *collection,
                                 const uint8_t *queries,
                                 size_t queries_size,
                                 size_t k,
                                 const struct bitkin_search_options *options,
                                 uint64_t *ids,
                                 uint32_t *distances,
                                 size_t capacity,
                                 int64_t *certified_radius);

// Finds all rows within `radius` of each query, and gives them in `hits`. Free them with
// bitkin_hits_free. Queries and options are as for bitkin_search. Where a radius may match more rows than
// fit into memory, bitkin_search_each keeps none.
//
// Threads: any.
//
// # Safety
// As for bitkin_search.
enum bitkin_status bitkin_search_radius(const struct bitkin_collection *collection,
                                        const uint8_t *queries,
                                        size_t queries_size,
                                        uint32_t radius,
                                        const struct bitkin_search_options *options,
                                        struct bitkin_hits **hits);

// Gives the hits of query number `query`, from 0: how many there are, where their ids and distances are,
// by (distance, id), and the certified radius. What is not wanted may be NULL. The arrays are valid until
// the hits are freed.
//
// Threads: any, but none may use the arrays when another frees the hits.
//
// # Safety
// Each pointer is NULL or points to where its result goes.
enum bitkin_status bitkin_hits_get(const struct bitkin_hits *hits,
                                   size_t query,
                                   size_t *count,
                                   const uint64_t **ids,
                                   const uint32_t **distances,
                                   int64_t *certified_radius);

// Frees hits, and the arrays that bitkin_hits_get gave.
//
// Threads: any, but see bitkin_hits_get.
enum bitkin_status bitkin_hits_free(struct bitkin_hits *hits);

// Gives every row within `radius` of one query to `each`, with `context`, as it is found, in no order,
// until that says false: however many there are, none is kept. `found`, which may be NULL, receives how
// many there were.
//
// Threads: any; `each` is called on the calling one.
//
// # Safety
// As for bitkin_search; `each` may be called with `context`.
enum bitkin_status bitkin_search_each(const struct bitkin_collection *collection,
                                      const uint8_t *query,
                                      size_t query_size,
                                      uint32_t radius,
                                      const struct bitkin_search_options *options,
                                      bitkin_hit_callback each,
                                      void *context,
                                      uint64_t *found);

// Selects bits by examples of what is sought: a query, and a mask under which a search for it finds more of the kind.
//
// * `like`, `unlike`: codes of what is sought and of what is not, each a whole number of codes. Rows of the
//   collection say what else there is, so `unlike` may be NULL, with 0 bytes.
// * `bits`: how many; 0 for as many as add something, at most 64.
// * `query`, `mask`: room for `capacity` bytes each, at least those of a code.
//
// Threads: any.
//
// # Safety
// Each pointer is NULL or points to what is said, and nobody else writes there meanwhile.
enum bitkin_status bitkin_select_bits(const struct bitkin_collection *collection,
                                      const uint8_t *like,
                                      size_t like_size,
                                      const uint8_t *unlike,
                                      size_t unlike_size,
                                      uint32_t bits,
                                      uint8_t *query,
                                      uint8_t *mask,
                                      size_t capacity);

// Searches for one query as bitkin_search does, and says in `text` how the answer was found: for each
// segment, and for the rows in memory, whether they were scanned or looked up in tables, what the planner
// expected of either, and what it took. `k` of SIZE_MAX, with a radius in `options`, stands for all rows within
// that. The text is for people: its wording may change. Free it with bitkin_string_free.
//
// Threads: any.
//
// # Safety
// Each pointer is NULL or points to what is said; the filter ends with a zero byte.
enum bitkin_status bitkin_explain(const struct bitkin_collection *collection,
                                  const uint8_t *query,
                                  size_t query_size,
                                  size_t k,
                                  const struct bitkin_search_options *options,
                                  const char **text);

// What was wrong with the last call of this thread that returns a status; empty if it went well. Valid
// until the thread's next call.
//
// Threads: any; each has its own message.
const char *bitkin_error_message(void);

// The version of this library: "MAJOR.MINOR.PATCH". Valid for ever.
//
// Threads: any.
const char *bitkin_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* BITKIN_H */
