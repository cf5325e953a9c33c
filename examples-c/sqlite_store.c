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

/* -- the store --
 * The callbacks come from any thread that calls the library, and the connection has one transaction for all threads. So
 * each callback holds the connection's mutex from its first statement to its last: otherwise our ROLLBACK would take
 * back what another thread writes, and its COMMIT would split our batch. Two rules follow for the client: it holds the
 * mutex (sqlite3_db_mutex) through each transaction of its own, or calls of the library fail meanwhile with
 * OMEMO_ERR_STORAGE; and it calls nothing of the library while it holds the mutex, which SQLite itself does around
 * functions and hooks of the client's. */
struct store {
  sqlite3 *db; /* the client's */
  sqlite3_stmt *get, *put, *drop;
  int begun; /* a transaction of ours is open: between the callbacks only if its ROLLBACK has failed */
};

static int execute(sqlite3 *db, const char *sql) {
  return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* True: no transaction of ours is open. After some errors SQLite has ended it by itself, and refuses the ROLLBACK. */
static int roll_back(struct store *s) {
  if (s->begun && !sqlite3_get_autocommit(s->db)) execute(s->db, "ROLLBACK");
  if (sqlite3_get_autocommit(s->db)) s->begun = 0;
  return !s->begun;
}

static int32_t load(const struct store *s, const char *key, omemo_value *value) {
  int32_t status = OMEMO_OK;
  int step = sqlite3_bind_text(s->get, 1, key, -1, SQLITE_STATIC);
  if (step == SQLITE_OK) step = sqlite3_step(s->get);
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

static int apply(const struct store *s, const omemo_change *change) {
  sqlite3_stmt *statement = change->value ? s->put : s->drop;
  int step = sqlite3_bind_text(statement, 1, change->key, -1, SQLITE_STATIC);
  if (step == SQLITE_OK && change->value)
    step = sqlite3_bind_blob64(statement, 2, change->value, change->value_len, SQLITE_STATIC);
  if (step == SQLITE_OK) step = sqlite3_step(statement);
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  return step == SQLITE_DONE;
}

static int32_t commit(struct store *s, const omemo_change *changes, size_t count) {
  /* Fails inside a transaction of the client: what that takes back, the library would believe to be stored. */
  if (execute(s->db, "BEGIN IMMEDIATE") != SQLITE_OK) return OMEMO_ERR_STORAGE;
  s->begun = 1;
  size_t done = 0;
  while (done < count && apply(s, &changes[done])) done++;
  if (done == count && execute(s->db, "COMMIT") == SQLITE_OK) {
    s->begun = 0;
    return OMEMO_OK;
  }
  roll_back(s); /* if that fails, the next callback begins with it: nothing that was not committed is ever loaded */
  return OMEMO_ERR_STORAGE;
}

static int32_t store_load(void *user_data, const char *key, omemo_value *value) {
  struct store *s = user_data;
  sqlite3_mutex_enter(sqlite3_db_mutex(s->db));
  const int32_t status = roll_back(s) ? load(s, key, value) : OMEMO_ERR_STORAGE;
  sqlite3_mutex_leave(sqlite3_db_mutex(s->db));
  return status;
}

static int32_t store_commit(void *user_data, const omemo_change *changes, size_t count) {
  struct store *s = user_data;
  sqlite3_mutex_enter(sqlite3_db_mutex(s->db));
  const int32_t status = roll_back(s) ? commit(s, changes, count) : OMEMO_ERR_STORAGE;
  sqlite3_mutex_leave(sqlite3_db_mutex(s->db));
  return status;
}

/* Runs when no manager uses the store any more: only then may the client close its connection. */
static void store_close(void *user_data) {
  struct store *s = user_data;
  sqlite3_finalize(s->get);
  sqlite3_finalize(s->put);
  sqlite3_finalize(s->drop);
  memset(s, 0, sizeof *s);
}

/* A journal mode that is refused is a row with the old one, not an error. */
static int write_ahead(sqlite3 *db) {
  sqlite3_stmt *pragma = NULL;
  int step = sqlite3_prepare_v2(db, "PRAGMA journal_mode = WAL", -1, &pragma, NULL);
  if (step == SQLITE_OK) step = sqlite3_step(pragma);
  if (step == SQLITE_ROW)
    step = sqlite3_stricmp((const char *)sqlite3_column_text(pragma, 0), "wal") == 0 ? SQLITE_OK : SQLITE_ERROR;
  sqlite3_finalize(pragma);
  return step;
}

/* Makes the connection one of a store, and the only one to its file. */
static int take(sqlite3 *db) {
  if (!sqlite3_db_mutex(db)) return SQLITE_MISUSE; /* opened without (SQLITE_OPEN_NOMUTEX) */
  if (!sqlite3_get_autocommit(db)) return SQLITE_MISUSE;
  int result = execute(db, "PRAGMA locking_mode = EXCLUSIVE");
  if (result == SQLITE_OK) result = write_ahead(db);
  if (result == SQLITE_OK)
    result = execute(db, "PRAGMA synchronous = FULL;" /* durable on return; the client's own commits, too */
                         "PRAGMA secure_delete = ON;"
                         "BEGIN IMMEDIATE;" /* takes the lock, which stays: after a read the first pragma takes none */
                         "CREATE TABLE IF NOT EXISTS omemo (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
                         "COMMIT");
  if (!sqlite3_get_autocommit(db)) execute(db, "ROLLBACK");
  return result;
}

/* db: its file is for the user alone (mode 0600), on a local file system; if this fails, close it or try again. s
 * outlives the storage: it is closed by store_close. */
static omemo_status store_open(struct store *s, sqlite3 *db, omemo_storage **storage) {
  const omemo_storage_callbacks callbacks = {sizeof callbacks, store_load, store_commit};
  omemo_status status = OMEMO_ERR_STORAGE;
  memset(s, 0, sizeof *s);
  s->db = db;
  int result = take(db);
  if (result == SQLITE_OK) result = sqlite3_prepare_v2(db, "SELECT value FROM omemo WHERE key = ?1", -1, &s->get, NULL);
  if (result == SQLITE_OK)
    result = sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO omemo VALUES (?1, ?2)", -1, &s->put, NULL);
  if (result == SQLITE_OK) result = sqlite3_prepare_v2(db, "DELETE FROM omemo WHERE key = ?1", -1, &s->drop, NULL);
  if (result == SQLITE_OK) status = omemo_storage_callbacks_new(&callbacks, s, store_close, storage);
  if ((result & 0xff) == SQLITE_BUSY) status = OMEMO_ERR_STORAGE_LOCKED; /* another connection, here or elsewhere */
  if (status != OMEMO_OK) store_close(s);                                /* store_close never runs by itself then */
  return status;
}

/* -- the history: a text is acknowledged when it is stored, and comes again until then -- */
struct client {
  omemo_manager *manager;
  sqlite3 *db;
  const char *jid;
};

/* The index is not unique: an account has its own receipts, and after an older copy of its store was restored, one may
 * come again that the history has seen with another text. */
static const char history_table[] =
    "CREATE TABLE IF NOT EXISTS history (account TEXT NOT NULL, receipt INTEGER, peer TEXT NOT NULL,"
    " sender TEXT NOT NULL, text TEXT NOT NULL);"
    "CREATE INDEX IF NOT EXISTS history_receipt ON history (account, receipt)";

/* What may have been handed out before is stored unless it is there. Anything else is new, whatever its receipt. */
static const char history_insert[] =
    "INSERT INTO history SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT (?6 AND EXISTS"
    " (SELECT 1 FROM history WHERE account = ?1 AND receipt = ?2 AND sender = ?4 AND text = ?5))";

static int store_text(const struct client *c, const omemo_decrypted *decrypted, const char *peer) {
  const uint64_t receipt = omemo_decrypted_receipt(decrypted);
  sqlite3_stmt *insert = NULL;
  int done = SQLITE_ERROR;
  sqlite3_mutex_enter(sqlite3_db_mutex(c->db));
  /* Outside of a transaction the statement is the commit; inside of one it might be taken back. */
  if (sqlite3_get_autocommit(c->db) && sqlite3_prepare_v2(c->db, history_insert, -1, &insert, NULL) == SQLITE_OK) {
    sqlite3_bind_text(insert, 1, c->jid, -1, SQLITE_STATIC);
    if (receipt) sqlite3_bind_int64(insert, 2, (sqlite3_int64)receipt); /* else NULL, which equals nothing */
    sqlite3_bind_text(insert, 3, peer, -1, SQLITE_STATIC);
    sqlite3_bind_text(insert, 4, omemo_decrypted_from(decrypted), -1, SQLITE_STATIC);
    sqlite3_bind_text(insert, 5, omemo_decrypted_body(decrypted), -1, SQLITE_STATIC);
    sqlite3_bind_int(insert, 6, (omemo_decrypted_flags(decrypted) & OMEMO_DECRYPTED_REPEATED) != 0);
    done = sqlite3_step(insert);
  }
  sqlite3_finalize(insert);
  sqlite3_mutex_leave(sqlite3_db_mutex(c->db));
  return done == SQLITE_DONE;
}

/* For each decrypted stanza, and for what is listed. peer: whose conversation it belongs to. That is the room, or else
 * the sender; or, if this account is the sender (a carbon), who the inner message is to; NULL: unknown. */
static void deliver(const struct client *c, const omemo_decrypted *decrypted, const char *peer) {
  const uint64_t receipt = omemo_decrypted_receipt(decrypted);
  /* Content that is withheld, because its sender is distrusted by now, would be destroyed. */
  if (omemo_decrypted_status(decrypted) != OMEMO_OK) return;
  if (omemo_decrypted_action(decrypted) == OMEMO_ACTION_SHOW && omemo_decrypted_body(decrypted)) {
    /* It comes again; with its stanza from the archive, and so with the peer. */
    if (!peer || !store_text(c, decrypted, peer)) return;
  }
  /* Else there is nothing to be stored: an empty message of OMEMO_NS_LEGACY, or a key or an element of an envelope that
   * this client makes no use of. One that does stores here what comes of it, and returns if that fails. */
  if (receipt) omemo_manager_acknowledge(c->manager, receipt);
}

/* After omemo_manager_new. */
static void deliver_what_is_left(const struct client *c) {
  omemo_decrypted *decrypted = NULL;
  uint64_t after = 0;
  while (omemo_manager_unacknowledged(c->manager, after, &decrypted) == OMEMO_OK) {
    const char *room = omemo_decrypted_room(decrypted), *from = omemo_decrypted_from(decrypted);
    const char *peer = room ? room : from;
    if (!room && from && strcmp(from, c->jid) == 0) peer = NULL; /* only the stanza tells, which is not kept */
    after = omemo_decrypted_receipt(decrypted);
    deliver(c, decrypted, peer);
    omemo_decrypted_free(decrypted);
  }
}

/* -- the client -- */
static const int OPEN = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;

static void fail(const char *why) {
  fprintf(stderr, "sqlite_store: %s\n", why);
  exit(1);
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
  struct client client = {.jid = "romeo@montague.lit"};
  if (sqlite3_open_v2(file, &client.db, OPEN, NULL) != SQLITE_OK) fail(sqlite3_errmsg(client.db));
  omemo_status status = store_open(&store, client.db, &storage);
  if (status != OMEMO_OK) fail(omemo_status_text(status));
  if (execute(client.db, history_table) != SQLITE_OK) fail(sqlite3_errmsg(client.db));
  omemo_config_set_jid(config, client.jid);
  omemo_config_set_storage(config, storage);
  omemo_config_set_callbacks(config, &callbacks, NULL, NULL);
  omemo_config_set_option(config, OMEMO_OPTION_ACKNOWLEDGE, 1);
  if (omemo_manager_new(config, &manager) != OMEMO_OK) fail(omemo_config_error(config));
  client.manager = manager;
  omemo_config_free(config);
  omemo_storage_free(storage);
  deliver_what_is_left(&client);
  omemo_manager_connected(manager, OMEMO_CATCH_UP_NONE, NULL, NULL, &op);
  omemo_result_free(omemo_manager_wait(manager, op, 10000));
  if (omemo_manager_devices(manager, NULL, &own) != OMEMO_OK || omemo_devices_count(own) == 0) exit(1);
  snprintf(fingerprint, size, "%s", omemo_devices_fingerprint(own, 0));
  omemo_devices_free(own);
  omemo_manager_free(manager); /* runs store_close */
  sqlite3_close(client.db);
}

/* Two clients open the file and read. While both have it open neither gets a store, and none later than the first. */
static int second_is_refused(const char *file) {
  omemo_storage *storage = NULL, *none = NULL;
  struct store one, other;
  sqlite3 *first = NULL, *second = NULL;
  int refused = sqlite3_open_v2(file, &first, OPEN, NULL) == SQLITE_OK &&
                sqlite3_open_v2(file, &second, OPEN, NULL) == SQLITE_OK &&
                execute(first, "SELECT count(*) FROM history") == SQLITE_OK &&
                execute(second, "SELECT count(*) FROM history") == SQLITE_OK &&
                store_open(&one, first, &storage) == OMEMO_ERR_STORAGE_LOCKED;
  sqlite3_close(second);
  refused = refused && store_open(&one, first, &storage) == OMEMO_OK &&
            sqlite3_open_v2(file, &second, OPEN, NULL) == SQLITE_OK &&
            store_open(&other, second, &none) == OMEMO_ERR_STORAGE_LOCKED;
  sqlite3_close(second);
  omemo_storage_free(storage); /* runs store_close */
  sqlite3_close(first);
  return refused;
}

int main(void) {
  const char *file = "sqlite_store.db";
  char first[128], second[128];
  remove(file);
  show(file, first, sizeof first);
  const int refused = second_is_refused(file);
  show(file, second, sizeof second);
  printf("%s\n%s\n", first, second);
  if (!refused) fprintf(stderr, "sqlite_store: a second one could open the store\n");
  remove(file);
  return refused && strcmp(first, second) == 0 ? 0 : 1; /* the same device again */
}
