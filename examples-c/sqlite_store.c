/* sqlite_store.c - a store in a database that the client has open for itself: two callbacks over its own connection.
 *
 *   cc sqlite_store.c $(pkg-config --cflags --libs omemo) -lsqlite3 -o sqlite_store
 *   ./sqlite_store
 *
 * For a client whose history lies in SQLite, and that wants one file. Who needs no more than a file for OMEMO calls
 * omemo_storage_sqlite_open, which does all of this. docs/storage.md says what the two callbacks must guarantee.
 */
#include <omemo.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- the store -- */
struct store {
  sqlite3 *db; /* the client's */
  sqlite3_stmt *get, *put, *drop;
};

static int32_t store_load(void *user_data, const char *key, omemo_value *value) {
  const struct store *s = user_data;
  int32_t status = OMEMO_OK;
  sqlite3_bind_text(s->get, 1, key, -1, SQLITE_STATIC);
  const int step = sqlite3_step(s->get);
  if (step == SQLITE_ROW) {
    const void *bytes = sqlite3_column_blob(s->get, 0);
    size_t len = (size_t)sqlite3_column_bytes(s->get, 0);
    status = omemo_value_set(value, bytes ? bytes : (const void *)"", len);
  } else if (step != SQLITE_DONE) {
    status = OMEMO_ERR_STORAGE; /* cannot read: not the same as absent */
  }
  sqlite3_reset(s->get);
  sqlite3_clear_bindings(s->get);
  return status;
}

static int32_t store_commit(void *user_data, const omemo_change *changes, size_t count) {
  const struct store *s = user_data;
  /* Fails inside a transaction of the client: what that takes back, the library would believe to be stored. */
  if (sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK) return OMEMO_ERR_STORAGE;
  for (size_t i = 0; i < count; i++) {
    sqlite3_stmt *statement = changes[i].value ? s->put : s->drop;
    sqlite3_bind_text(statement, 1, changes[i].key, -1, SQLITE_STATIC);
    if (changes[i].value) sqlite3_bind_blob64(statement, 2, changes[i].value, changes[i].value_len, SQLITE_STATIC);
    const int step = sqlite3_step(statement);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    if (step != SQLITE_DONE) {
      sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
      return OMEMO_ERR_STORAGE;
    }
  }
  if (sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK) return OMEMO_OK;
  sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
  return OMEMO_ERR_STORAGE;
}

/* Runs when no manager uses the store any more: only then may the client close its connection. */
static void store_close(void *user_data) {
  struct store *s = user_data;
  sqlite3_finalize(s->get);
  sqlite3_finalize(s->put);
  sqlite3_finalize(s->drop);
  memset(s, 0, sizeof *s);
}

/* db: of one process; its file is for the user alone (mode 0600). s outlives the storage: it is closed by store_close.
 */
static omemo_status store_open(struct store *s, sqlite3 *db, omemo_storage **storage) {
  const omemo_storage_callbacks callbacks = {sizeof callbacks, store_load, store_commit};
  omemo_status status = OMEMO_ERR_STORAGE;
  memset(s, 0, sizeof *s);
  s->db = db;
  if (sqlite3_exec(db,
                   "PRAGMA locking_mode = EXCLUSIVE;" /* one process */
                   "PRAGMA journal_mode = WAL;"
                   "PRAGMA synchronous = FULL;" /* durable on return; the client's own commits, too */
                   "PRAGMA secure_delete = ON;"
                   "CREATE TABLE IF NOT EXISTS omemo (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
                   NULL, NULL, NULL) == SQLITE_OK &&
      sqlite3_prepare_v2(db, "SELECT value FROM omemo WHERE key = ?1", -1, &s->get, NULL) == SQLITE_OK &&
      sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO omemo VALUES (?1, ?2)", -1, &s->put, NULL) == SQLITE_OK &&
      sqlite3_prepare_v2(db, "DELETE FROM omemo WHERE key = ?1", -1, &s->drop, NULL) == SQLITE_OK)
    status = omemo_storage_callbacks_new(&callbacks, s, store_close, storage);
  if (status != OMEMO_OK) store_close(s); /* store_close never runs by itself then */
  return status;
}

/* -- the history: a text is acknowledged when it is stored, and comes again until then -- */
static int store_text(sqlite3 *history, const omemo_decrypted *decrypted) {
  sqlite3_stmt *insert = NULL;
  const char *sql = "INSERT OR IGNORE INTO history VALUES (?1, ?2, ?3, ?4)"; /* there already: nothing happens */
  int done = SQLITE_ERROR;
  if (sqlite3_prepare_v2(history, sql, -1, &insert, NULL) == SQLITE_OK) {
    sqlite3_bind_int64(insert, 1, (sqlite3_int64)omemo_decrypted_receipt(decrypted));
    sqlite3_bind_text(insert, 2, omemo_decrypted_room(decrypted), -1, SQLITE_STATIC);
    sqlite3_bind_text(insert, 3, omemo_decrypted_from(decrypted), -1, SQLITE_STATIC);
    sqlite3_bind_text(insert, 4, omemo_decrypted_body(decrypted), -1, SQLITE_STATIC);
    done = sqlite3_step(insert); /* outside of a transaction this is the commit */
  }
  sqlite3_finalize(insert);
  return done == SQLITE_DONE;
}

/* For each decrypted stanza, and for what is listed. */
static void deliver(omemo_manager *manager, sqlite3 *history, const omemo_decrypted *decrypted) {
  const uint64_t receipt = omemo_decrypted_receipt(decrypted);
  if (omemo_decrypted_action(decrypted) == OMEMO_ACTION_SHOW && omemo_decrypted_body(decrypted) &&
      !store_text(history, decrypted))
    return; /* not stored: it comes again */
  if (receipt) omemo_manager_acknowledge(manager, receipt);
}

/* After omemo_manager_new. */
static void deliver_what_is_left(omemo_manager *manager, sqlite3 *history) {
  omemo_decrypted *decrypted = NULL;
  uint64_t after = 0;
  while (omemo_manager_unacknowledged(manager, after, &decrypted) == OMEMO_OK) {
    after = omemo_decrypted_receipt(decrypted);
    deliver(manager, history, decrypted);
    omemo_decrypted_free(decrypted);
  }
}

/* -- the client -- */
static sqlite3 *open_database(const char *file) {
  sqlite3 *db = NULL;
  if (sqlite3_open(file, &db) != SQLITE_OK ||
      sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS history (receipt INTEGER UNIQUE, room TEXT, sender TEXT, text TEXT)",
                   NULL, NULL, NULL) != SQLITE_OK) {
    fprintf(stderr, "sqlite_store: %s\n", sqlite3_errmsg(db));
    exit(1);
  }
  return db;
}

/* A client asks its server, and answers when that answers: see quickstart.c. Here there is none. */
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
static void show(const char *file, char *fingerprint, size_t size) {
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
  sqlite3 *db = open_database(file);
  if (store_open(&store, db, &storage) != OMEMO_OK) {
    fprintf(stderr, "sqlite_store: %s\n", sqlite3_errmsg(db));
    exit(1);
  }
  omemo_config_set_jid(config, "romeo@montague.lit");
  omemo_config_set_storage(config, storage);
  omemo_config_set_callbacks(config, &callbacks, NULL, NULL);
  omemo_config_set_option(config, OMEMO_OPTION_ACKNOWLEDGE, 1);
  if (omemo_manager_new(config, &manager) != OMEMO_OK) {
    fprintf(stderr, "sqlite_store: %s\n", omemo_config_error(config));
    exit(1);
  }
  omemo_config_free(config);
  omemo_storage_free(storage);
  deliver_what_is_left(manager, db);
  omemo_manager_connected(manager, OMEMO_CATCH_UP_NONE, NULL, NULL, &op);
  omemo_result_free(omemo_manager_wait(manager, op, 10000));
  if (omemo_manager_devices(manager, NULL, &own) != OMEMO_OK || omemo_devices_count(own) == 0) exit(1);
  snprintf(fingerprint, size, "%s", omemo_devices_fingerprint(own, 0));
  omemo_devices_free(own);
  omemo_manager_free(manager); /* runs store_close */
  sqlite3_close(db);
}

int main(void) {
  const char *file = "sqlite_store.db";
  char first[128], second[128];
  remove(file);
  show(file, first, sizeof first);
  show(file, second, sizeof second);
  printf("%s\n%s\n", first, second);
  remove(file);
  return strcmp(first, second) == 0 ? 0 : 1; /* the same device again */
}
