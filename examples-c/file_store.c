/* file_store.c - a store in a file, without a database: all records in memory, and the whole file written anew with
 * each commit.
 *
 *   cc file_store.c $(pkg-config --cflags --libs omemo) -o file_store
 *   ./file_store
 *
 * It shows what "all or nothing, and durable" takes of plain files: write another file, fsync it, give it the name of
 * the old one, fsync the directory. Its cost grows with the account, so that it is for bots with few contacts;
 * otherwise omemo_storage_sqlite_open is the right call. The sum at the end of the file tells a damaged disk, not a
 * forger.
 */
#define _POSIX_C_SOURCE 200809L
#include <omemo.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* -- records in memory: a list, newest first -- */
struct record {
  struct record *next;
  char key[201];
  size_t len;
  unsigned char *value;
};

struct store {
  struct record *records;
  char path[1024], new_path[1032], directory[1024];
  int lock; /* of a file beside, which is never replaced */
};

static void record_free(struct record *record) {
  volatile unsigned char *secret = record->value;
  for (size_t i = 0; i < record->len; i++) secret[i] = 0;
  free(record->value);
  free(record);
}

static void records_free(struct record *records) {
  while (records) {
    struct record *next = records->next;
    record_free(records);
    records = next;
  }
}

static struct record *record_new(const char *key, const void *value, size_t len, struct record *next) {
  struct record *record = calloc(1, sizeof *record);
  if (!record) return NULL;
  record->value = malloc(len + 1);
  if (!record->value) {
    free(record);
    return NULL;
  }
  snprintf(record->key, sizeof record->key, "%s", key);
  memcpy(record->value, value, len);
  record->len = len;
  record->next = next;
  return record;
}

/* -- the file: for each record a line "KEY LENGTH", then the bytes; a line "end SUM" -- */
static unsigned long add(unsigned long sum, const void *bytes, size_t len) {
  for (size_t i = 0; i < len; i++) sum = (sum * 31 + ((const unsigned char *)bytes)[i]) & 0xffffffff;
  return sum;
}

static int write_records(FILE *file, const struct record *records) {
  unsigned long sum = 0;
  for (const struct record *r = records; r; r = r->next) {
    fprintf(file, "%s %lu\n", r->key, (unsigned long)r->len);
    fwrite(r->value, 1, r->len, file);
    sum = add(add(sum, r->key, strlen(r->key)), r->value, r->len);
  }
  fprintf(file, "end %lu\n", sum);
  return !ferror(file);
}

/* NULL in *records and true: an empty store. false: the file cannot be read, which is not the same. */
static int read_records(FILE *file, struct record **records) {
  unsigned long sum = 0, number = 0;
  char key[201];
  while (fscanf(file, "%200s %lu", key, &number) == 2 && fgetc(file) == '\n') {
    if (strcmp(key, "end") == 0) return number == sum;
    unsigned char *value = number <= 1024 * 1024 ? malloc(number + 1) : NULL;
    if (!value || fread(value, 1, number, file) != number) {
      free(value);
      return 0;
    }
    struct record *record = record_new(key, value, number, *records);
    sum = add(add(sum, key, strlen(key)), value, number);
    free(value);
    if (!record) return 0;
    *records = record;
  }
  return 0;
}

static int sync_directory(const char *path) {
  int directory = open(path, O_RDONLY | O_CLOEXEC);
  int good = directory >= 0 && fsync(directory) == 0;
  if (directory >= 0) close(directory);
  return good;
}

/* The records of a file become these: all of them, or it stays as it was. */
static int replace_file(const struct store *s, const struct record *records) {
  int descriptor = open(s->new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  FILE *file = descriptor >= 0 ? fdopen(descriptor, "wb") : NULL;
  if (!file) {
    if (descriptor >= 0) close(descriptor);
    return 0;
  }
  int written = write_records(file, records) && fflush(file) == 0 && fsync(descriptor) == 0;
  /* Without the fsync above the name could become durable before the bytes do. */
  if (fclose(file) == 0 && written && rename(s->new_path, s->path) == 0) return sync_directory(s->directory);
  unlink(s->new_path);
  return 0;
}

/* -- the two callbacks -- */
static int32_t store_load(void *user_data, const char *key, omemo_value *value) {
  const struct store *s = user_data;
  for (const struct record *r = s->records; r; r = r->next)
    if (strcmp(r->key, key) == 0) return omemo_value_set(value, r->value, r->len);
  return OMEMO_OK;
}

static const omemo_change *change_of(const omemo_change *changes, size_t count, const char *key) {
  for (size_t i = count; i > 0; i--)
    if (strcmp(changes[i - 1].key, key) == 0) return &changes[i - 1];
  return NULL;
}

static int32_t store_commit(void *user_data, const omemo_change *changes, size_t count) {
  struct store *s = user_data;
  struct record *after = NULL, *one = NULL;
  for (const struct record *r = s->records; r; r = r->next) { /* what stays */
    if (change_of(changes, count, r->key)) continue;
    if (!(one = record_new(r->key, r->value, r->len, after))) goto failed;
    after = one;
  }
  for (size_t i = 0; i < count; i++) { /* what is new */
    if (!changes[i].value || change_of(changes, count, changes[i].key) != &changes[i]) continue;
    if (!(one = record_new(changes[i].key, changes[i].value, changes[i].value_len, after))) goto failed;
    after = one;
  }
  if (!replace_file(s, after)) goto failed;
  records_free(s->records);
  s->records = after;
  return OMEMO_OK;
failed:
  records_free(after);
  return OMEMO_ERR_STORAGE;
}

static void store_close(void *user_data) {
  struct store *s = user_data;
  records_free(s->records);
  if (s->lock >= 0) close(s->lock);
  s->records = NULL;
  s->lock = -1;
}

/* directory: is there. s outlives the storage: it is closed by store_close. */
static omemo_status store_open(struct store *s, const char *directory, omemo_storage **storage) {
  const omemo_storage_callbacks callbacks = {sizeof callbacks, store_load, store_commit};
  omemo_status status = OMEMO_ERR_STORAGE;
  char lock[1032];
  memset(s, 0, sizeof *s);
  snprintf(s->directory, sizeof s->directory, "%s", directory);
  if (snprintf(s->path, sizeof s->path, "%s/omemo", directory) >= (int)sizeof s->path) return OMEMO_ERR_STORAGE;
  snprintf(s->new_path, sizeof s->new_path, "%s.new", s->path);
  snprintf(lock, sizeof lock, "%s.lock", s->path);
  s->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (s->lock < 0) return OMEMO_ERR_STORAGE;
  /* Excludes another process and this one, where fcntl(F_SETLK) always succeeds; a crash lets it go. */
  if (flock(s->lock, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) status = OMEMO_ERR_STORAGE_LOCKED;
  } else {
    FILE *file = fopen(s->path, "rb");
    int exists = file || access(s->path, F_OK) == 0;
    if (!exists) status = OMEMO_OK;
    else if (file) status = read_records(file, &s->records) ? OMEMO_OK : OMEMO_ERR_STORAGE_CORRUPT;
    if (file) fclose(file);
  }
  if (status == OMEMO_OK) status = omemo_storage_callbacks_new(&callbacks, s, store_close, storage);
  if (status != OMEMO_OK) store_close(s); /* store_close never runs by itself then */
  return status;
}

/* -- a client, as short as one can be -- */
/* One asks its server, and answers when that answers: see quickstart.c. Here there is none. */
static void no_list(void *user_data, omemo_request request, const char *ns, const char *jid) {
  (void)user_data, (void)ns, (void)jid;
  omemo_request_reject(request, OMEMO_REJECT_NOT_FOUND);
}

static void list_published(void *user_data, omemo_request request, const char *ns, const omemo_device_list *list) {
  (void)user_data, (void)ns, (void)list;
  omemo_request_resolve(request);
}

static void bundle_published(void *user_data, omemo_request request, const char *ns, uint32_t device,
                             const omemo_bundle *bundle) {
  (void)user_data, (void)ns, (void)device, (void)bundle;
  omemo_request_resolve(request);
}

/* Opens the account, connects, and tells which device it is. */
static void show(const char *directory, char *fingerprint, size_t size) {
  const omemo_callbacks callbacks = {.struct_size = sizeof callbacks,
                                     .fetch_device_list = no_list,
                                     .publish_device_list = list_published,
                                     .publish_bundle = bundle_published};
  omemo_config *config = omemo_config_new();
  omemo_storage *storage = NULL;
  omemo_manager *manager = NULL;
  omemo_devices *own = NULL;
  omemo_op op = 0;
  struct store store;
  omemo_status status = store_open(&store, directory, &storage);
  if (status != OMEMO_OK) {
    fprintf(stderr, "file_store: %s\n", omemo_status_text(status));
    exit(1);
  }
  omemo_config_set_jid(config, "romeo@montague.lit");
  omemo_config_set_storage(config, storage);
  omemo_config_set_callbacks(config, &callbacks, NULL, NULL);
  if (omemo_manager_new(config, &manager) != OMEMO_OK) {
    fprintf(stderr, "file_store: %s\n", omemo_config_error(config));
    exit(1);
  }
  omemo_config_free(config);
  omemo_storage_free(storage);
  omemo_manager_connected(manager, OMEMO_CATCH_UP_NONE, NULL, NULL, &op);
  omemo_result_free(omemo_manager_wait(manager, op, 10000));
  if (omemo_manager_devices(manager, NULL, &own) != OMEMO_OK || omemo_devices_count(own) == 0) exit(1);
  snprintf(fingerprint, size, "%s", omemo_devices_fingerprint(own, 0));
  omemo_devices_free(own);
  omemo_manager_free(manager); /* runs store_close */
}

/* Two managers over two copies of the records would use keys twice. */
static int second_is_refused(const char *directory) {
  omemo_storage *storage = NULL, *none = NULL;
  struct store one, other;
  if (store_open(&one, directory, &storage) != OMEMO_OK) return 0;
  int refused = store_open(&other, directory, &none) == OMEMO_ERR_STORAGE_LOCKED &&
                store_open(&other, directory, &none) == OMEMO_ERR_STORAGE_LOCKED; /* nor did the first end the lock */
  omemo_storage_free(storage);                                                    /* runs store_close */
  return refused;
}

int main(void) {
  char directory[] = "/tmp/file_store-XXXXXX", path[64], first[128], second[128];
  if (!mkdtemp(directory)) return 1;
  show(directory, first, sizeof first);
  const int refused = second_is_refused(directory);
  show(directory, second, sizeof second);
  printf("%s\n%s\n", first, second);
  if (!refused) fprintf(stderr, "file_store: a second one could open the store\n");
  snprintf(path, sizeof path, "%s/omemo", directory);
  remove(path);
  snprintf(path, sizeof path, "%s/omemo.lock", directory);
  remove(path);
  remove(directory);
  return refused && strcmp(first, second) == 0 ? 0 : 1; /* the same device again */
}
