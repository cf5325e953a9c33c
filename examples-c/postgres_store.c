/* postgres_store.c - stores of many accounts in PostgreSQL, by two callbacks, for a gateway or a farm of bots.
 *
 *   cc -c postgres_store.c postgres_pool.c $(pkg-config --cflags omemo libpq)    (link with -lomemo -lpq -pthread)
 *
 * A pool is one connection, which any number of accounts share; a second pool is a second connection. docs/storage.md
 * has figures, and what a database administrator has to know.
 *
 * What it guarantees, by a server that keeps what it confirms (synchronous_commit and fsync are checked at each
 * connection):
 *
 *  - One user at a time. An account is held by an advisory lock of the session: whoever else opens it, in whatever
 *    process, gets OMEMO_ERR_STORAGE_LOCKED. The lock goes with the session, so that a dead process blocks nobody; what
 *    is left of a machine that vanished is ended by keepalives of TCP.
 *  - Nothing is written over what somebody else wrote. Each commit counts a revision from the one that this store
 *    knows, and leaves a random id. After a reconnection the lock is taken again, and both are compared. If they have
 *    moved, somebody else had the account, or the server was put back on an older copy: each later call is
 *    OMEMO_ERR_STORAGE_LOCKED, until the account is opened again. While another session has the lock, so is each call,
 *    too, but the next one tries again.
 *  - A commit is not in doubt for long. If the connection breaks inside COMMIT, the next session finds the id, or does
 *    not; the store waits some seconds for that, for a text whose commit happened and reported an error is lost.
 *
 * What it does not:
 *
 *  - Values are private keys, and PostgreSQL keeps what was deleted: in dead rows until VACUUM, in the WAL, archives,
 *    standbys, backups. Put a sealed store over it, and connect by TLS (sslmode=verify-full). What libpq has in its
 *    buffers is not wiped.
 *  - An advisory lock belongs to a session of the server. A pooler that shares sessions out by transaction (PgBouncer)
 *    breaks it; one that shows by its process id is refused. Connect directly.
 *  - A failover to a standby that lagged behind is an older copy. A store that is open notices; one that is opened
 *    later cannot. So name the standbys in synchronous_standby_names, with synchronous_commit = on.
 */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif
#include "postgres_pool.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ID_BYTES = 16, BATCH = 64, KEY_BYTES = 201, NAME_BYTES = 1001, DOUBT_MS = 10000, POLL_US = 20000 };

/* The records whose keys begin alike, read at once, when two such keys were asked for in a row: an account that opens
 * asks for 256 of them, most of which there are not. More than AHEAD are read one by one. */
enum { AHEAD = 300 };

struct postgres_store {
  postgres_pool *pool;
  struct postgres_store *next;
  char *account;
  uint64_t generation; /* of the session in which it has its lock; 0: of none */
  char revision[24];   /* "": not known yet */
  uint8_t id[ID_BYTES];
  uint8_t doubtful[ID_BYTES]; /* the commit whose end nobody saw */
  bool doubt;
  bool moved;             /* somebody else wrote */
  char prefix[KEY_BYTES]; /* of the key that was asked for last, up to its last slash */
  PGresult *ahead;        /* all that begin so, or NULL; forgotten at a commit and with the lock */
  bool asked_ahead;
};

/* -- statements -- */

struct parameters {
  const char *values[3];
  int lengths[3];
  int formats[3];
};

static struct parameters about(const struct postgres_store *store, const char *key) {
  struct parameters with = {{store->account, key, NULL}, {0, 0, 0}, {0, 0, 1}};
  return with;
}

static void set_bytes(struct parameters *with, const uint8_t *bytes, size_t len) {
  with->values[2] = (const char *)bytes;
  with->lengths[2] = (int)len;
}

static PGresult *run(const struct postgres_store *store, const char *statement, int count, const char *key) {
  const struct parameters with = about(store, key);
  return PQexecPrepared(store->pool->connection, statement, count, with.values, with.lengths, with.formats, 1);
}

/* Sends without waiting for the answer. */
static bool send_off(const struct postgres_store *store, const char *statement, int count,
                     const struct parameters *with) {
  return PQsendQueryPrepared(store->pool->connection, statement, count, with->values, with->lengths, with->formats,
                             1) == 1;
}

/* Values are secrets: the copy of libpq's that we can reach is wiped. */
static void clear(PGresult *result) {
  for (int row = 0; row < PQntuples(result); row++)
    for (int column = 0; column < PQnfields(result); column++) {
      volatile char *value = PQgetvalue(result, row, column);
      for (int i = 0; i < PQgetlength(result, row, column); i++) value[i] = 0;
    }
  PQclear(result);
}

/* -- the lock -- */

static void forget_ahead(struct postgres_store *store) {
  if (store->ahead) clear(store->ahead);
  store->ahead = NULL;
  store->asked_ahead = false;
  store->prefix[0] = '\0';
}

static void give_back(const struct postgres_store *store) {
  PQclear(run(store, "unlock", 1, NULL));
}

/* Compares what the server has with what this store knows. Only under the lock, and in a statement of its own: the
 * snapshot of one that also takes the lock would be older than that. */
static omemo_status compare(struct postgres_store *store, const PGresult *row) {
  if (PQntuples(row) != 1 || PQgetlength(row, 0, 1) != ID_BYTES) {
    store->moved = true;
    return OMEMO_ERR_STORAGE_LOCKED;
  }
  const char *revision = PQgetvalue(row, 0, 0), *id = PQgetvalue(row, 0, 1);
  bool first = store->revision[0] == '\0';
  bool same = strcmp(store->revision, revision) == 0 && memcmp(store->id, id, ID_BYTES) == 0;
  bool happened = store->doubt && strtoll(revision, NULL, 10) == strtoll(store->revision, NULL, 10) + 1 &&
                  memcmp(store->doubtful, id, ID_BYTES) == 0;
  if (!first && !same && !happened) {
    store->moved = true;
    return OMEMO_ERR_STORAGE_LOCKED;
  }
  snprintf(store->revision, sizeof store->revision, "%s", revision);
  memcpy(store->id, id, ID_BYTES);
  store->doubt = false;
  return OMEMO_OK;
}

/* The account is this store's after this, as it was, in this session. */
static omemo_status take(struct postgres_store *store) {
  postgres_pool *pool = store->pool;
  if (store->moved) return OMEMO_ERR_STORAGE_LOCKED;
  if (store->generation == pool->generation) return OMEMO_OK;
  forget_ahead(store);
  PGresult *result = PQexecPrepared(pool->connection, "lock", 1, about(store, NULL).values, NULL, NULL, 0);
  omemo_status status = OMEMO_OK;
  if (PQresultStatus(result) != PGRES_TUPLES_OK) status = postgres_failure(pool, "taking the lock", result);
  else if (!postgres_is_yes(result, 0)) status = OMEMO_ERR_STORAGE_LOCKED;
  PQclear(result);
  if (status != OMEMO_OK) return status;
  result = run(store, "row", 1, NULL);
  if (PQresultStatus(result) != PGRES_TUPLES_OK) status = postgres_failure(pool, "reading the revision", result);
  else status = compare(store, result);
  PQclear(result);
  if (status == OMEMO_OK) store->generation = pool->generation;
  else give_back(store);
  return status;
}

/* -- the callbacks -- */

/* Whether all records that begin as this key does have been read. */
static bool is_ahead(struct postgres_store *store, const char *key) {
  const char *slash = strrchr(key, '/');
  size_t len = slash ? (size_t)(slash - key) + 1 : 0;
  if (len == 0 || len >= KEY_BYTES) return false;
  if (strlen(store->prefix) != len || memcmp(store->prefix, key, len) != 0) {
    forget_ahead(store);
    memcpy(store->prefix, key, len);
    store->prefix[len] = '\0';
    return false;
  }
  if (!store->asked_ahead) {
    store->asked_ahead = true;
    PGresult *result = run(store, "ahead", 2, store->prefix);
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) < AHEAD) store->ahead = result;
    else clear(result);
  }
  return store->ahead != NULL;
}

/* The rows are in the order of their keys. */
static omemo_status from_ahead(const struct postgres_store *store, const char *key, omemo_value *value) {
  int low = 0, high = PQntuples(store->ahead);
  while (low < high) {
    int middle = low + (high - low) / 2;
    int order = strcmp(PQgetvalue(store->ahead, middle, 0), key);
    if (order == 0)
      return omemo_value_set(value, (const uint8_t *)PQgetvalue(store->ahead, middle, 1),
                             (size_t)PQgetlength(store->ahead, middle, 1));
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return OMEMO_OK;
}

static omemo_status load_once(struct postgres_store *store, const char *key, omemo_value *value) {
  omemo_status status = postgres_session(store->pool);
  if (status == OMEMO_OK) status = take(store);
  if (status != OMEMO_OK) return status;
  if (is_ahead(store, key)) return from_ahead(store, key, value);
  PGresult *result = run(store, "load", 2, key);
  if (PQresultStatus(result) != PGRES_TUPLES_OK) status = postgres_failure(store->pool, "loading", result);
  else if (PQntuples(result) == 1)
    status = omemo_value_set(value, (const uint8_t *)PQgetvalue(result, 0, 0), (size_t)PQgetlength(result, 0, 0));
  clear(result);
  return status;
}

static int32_t postgres_load(void *user_data, const char *key, omemo_value *value) {
  struct postgres_store *store = user_data;
  pthread_mutex_lock(&store->pool->mutex);
  omemo_status status = load_once(store, key, value);
  if (status == OMEMO_ERR_STORAGE && postgres_broke(store->pool)) status = load_once(store, key, value);
  pthread_mutex_unlock(&store->pool->mutex);
  return status;
}

/* The answers to what was sent. The server answers in order; `count` must have found its one row. */
static omemo_status read_answers(struct postgres_store *store, size_t sent, bool begins) {
  PGconn *connection = store->pool->connection;
  omemo_status status = OMEMO_OK;
  for (size_t i = 0; i < sent; i++) {
    PGresult *result = PQgetResult(connection);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
      if (status == OMEMO_OK) status = postgres_failure(store->pool, "writing", result);
    } else if (begins && i == 1 && strcmp(PQcmdTuples(result), "1") != 0) {
      status = OMEMO_ERR_STORAGE_LOCKED;
      store->moved = true;
    }
    bool over = result == NULL;
    PQclear(result);
    if (over) return postgres_failure(store->pool, "writing", NULL);
    PQclear(PQgetResult(connection)); /* NULL, the end of this statement */
  }
  PGresult *sync = PQgetResult(connection);
  if (PQresultStatus(sync) != PGRES_PIPELINE_SYNC) status = postgres_failure(store->pool, "writing", sync);
  PQclear(sync);
  return status;
}

/* All but COMMIT, in as many round trips as there are batches. */
static omemo_status write_changes(struct postgres_store *store, const omemo_change *changes, size_t count,
                                  const uint8_t *id) {
  PGconn *connection = store->pool->connection;
  omemo_status status = OMEMO_OK;
  bool begins = true;
  if (PQenterPipelineMode(connection) != 1) return postgres_failure(store->pool, "writing", NULL);
  for (size_t at = 0; status == OMEMO_OK && (begins || at < count); begins = false) {
    size_t sent = 0;
    bool good = true;
    if (begins) {
      struct parameters with = about(store, store->revision);
      set_bytes(&with, id, ID_BYTES);
      good = send_off(store, "begin", 0, &with) && send_off(store, "count", 3, &with);
      sent = 2;
    }
    for (; good && at < count && sent < BATCH; at++, sent++) {
      struct parameters with = about(store, changes[at].key);
      if (changes[at].value) set_bytes(&with, changes[at].value, changes[at].value_len);
      good = send_off(store, changes[at].value ? "put" : "drop", changes[at].value ? 3 : 2, &with);
    }
    if (good) good = PQpipelineSync(connection) == 1;
    status = good ? read_answers(store, sent, begins) : postgres_failure(store->pool, "writing", NULL);
  }
  /* What is still on its way is nobody's: the session is given up, and with it the transaction. */
  if (PQexitPipelineMode(connection) != 1) {
    store->pool->ready = false;
    if (status == OMEMO_OK) status = postgres_failure(store->pool, "writing", NULL);
  }
  return status;
}

static omemo_status commit_once(struct postgres_store *store, const omemo_change *changes, size_t count,
                                const uint8_t *id) {
  postgres_pool *pool = store->pool;
  bool stale = store->doubt; /* nobody has loaded since: these changes may not know of that commit */
  omemo_status status = postgres_session(pool);
  if (status == OMEMO_OK) status = take(store);
  if (status == OMEMO_OK && stale) status = OMEMO_ERR_STORAGE;
  if (status != OMEMO_OK) return status;
  status = write_changes(store, changes, count, id);
  pool->warned = false;
  PGresult *result = PQexec(pool->connection, status == OMEMO_OK ? "COMMIT" : "ROLLBACK");
  bool done = PQresultStatus(result) == PGRES_COMMAND_OK;
  if (status != OMEMO_OK) {
    if (!done) pool->ready = false;
  } else if (done && strcmp(PQcmdStatus(result), "COMMIT") == 0 && !pool->warned) {
    memcpy(store->id, id, ID_BYTES);
    snprintf(store->revision, sizeof store->revision, "%lld", strtoll(store->revision, NULL, 10) + 1);
  } else { /* the next session will know */
    status = postgres_failure(pool, "committing", result);
    memcpy(store->doubtful, id, ID_BYTES);
    store->doubt = true;
    pool->ready = false;
  }
  PQclear(result);
  return status;
}

/* What became of a commit: waits for the end of the session in which it was made, and for a new one. */
static omemo_status settle_doubt(struct postgres_store *store, const uint8_t *id) {
  const int64_t until = postgres_now_ms() + DOUBT_MS;
  omemo_status status;
  while ((status = postgres_session(store->pool)) != OMEMO_OK || (status = take(store)) != OMEMO_OK) {
    if (store->moved || postgres_now_ms() >= until) return status;
    postgres_broke(store->pool);
    usleep(POLL_US);
  }
  return memcmp(store->id, id, ID_BYTES) == 0 ? OMEMO_OK : OMEMO_ERR_STORAGE;
}

static int32_t postgres_commit(void *user_data, const omemo_change *changes, size_t count) {
  struct postgres_store *store = user_data;
  uint8_t id[ID_BYTES];
  if (getentropy(id, sizeof id) != 0) return OMEMO_ERR_STORAGE;
  pthread_mutex_lock(&store->pool->mutex);
  forget_ahead(store);
  store->pool->warned = false;
  omemo_status status = commit_once(store, changes, count, id);
  if (status == OMEMO_ERR_STORAGE && !store->doubt && postgres_broke(store->pool))
    status = commit_once(store, changes, count, id);
  /* After a warning it is in doubt whether a standby has it, which nobody here can settle: it failed. */
  bool mine = store->doubt && memcmp(store->doubtful, id, ID_BYTES) == 0;
  if (mine && !store->moved && !store->pool->warned) status = settle_doubt(store, id);
  pthread_mutex_unlock(&store->pool->mutex);
  return status;
}

/* -- opening and closing -- */

static void store_free(struct postgres_store *store) {
  forget_ahead(store);
  free(store->account);
  free(store);
}

static void postgres_destroy(void *user_data) {
  struct postgres_store *store = user_data;
  postgres_pool *pool = store->pool;
  pthread_mutex_lock(&pool->mutex);
  struct postgres_store **at = &pool->stores;
  while (*at && *at != store) at = &(*at)->next;
  if (*at) *at = store->next;
  bool alive = pool->ready && PQstatus(pool->connection) == CONNECTION_OK;
  if (alive && store->generation == pool->generation) give_back(store);
  bool last = pool->closed && !pool->stores;
  pthread_mutex_unlock(&pool->mutex);
  store_free(store);
  if (last) postgres_pool_end(pool);
}

static omemo_status open_once(struct postgres_store *store) {
  omemo_status status = postgres_session(store->pool);
  if (status != OMEMO_OK) return status;
  PGresult *result = run(store, "add", 1, NULL);
  if (PQresultStatus(result) != PGRES_COMMAND_OK) status = postgres_failure(store->pool, "opening an account", result);
  PQclear(result);
  return status == OMEMO_OK ? take(store) : status;
}

/* The advisory lock is the session's, which may take it twice: that the pool has not the account open is for us to see.
 */
static omemo_status open_in_pool(struct postgres_store *store) {
  postgres_pool *pool = store->pool;
  for (const struct postgres_store *other = pool->stores; other; other = other->next)
    if (strcmp(other->account, store->account) == 0) return OMEMO_ERR_STORAGE_LOCKED;
  omemo_status status = open_once(store);
  if (status == OMEMO_ERR_STORAGE && postgres_broke(pool)) status = open_once(store);
  if (status == OMEMO_OK) {
    store->next = pool->stores;
    pool->stores = store;
  }
  return status;
}

omemo_status postgres_store_open(postgres_pool *pool, const char *account, omemo_storage **storage) {
  static const omemo_storage_callbacks callbacks = {sizeof callbacks, postgres_load, postgres_commit};
  size_t size = strlen(account) + 1;
  if (size > NAME_BYTES) return OMEMO_ERR_ARGUMENT;
  struct postgres_store *store = calloc(1, sizeof *store);
  char *name = malloc(size);
  if (!store || !name) {
    free(store);
    free(name);
    return OMEMO_ERR_STORAGE;
  }
  store->account = memcpy(name, account, size);
  store->pool = pool;
  pthread_mutex_lock(&pool->mutex);
  omemo_status status = open_in_pool(store);
  pthread_mutex_unlock(&pool->mutex);
  if (status != OMEMO_OK) {
    store_free(store);
    return status;
  }
  status = omemo_storage_callbacks_new(&callbacks, store, postgres_destroy, storage);
  if (status != OMEMO_OK) postgres_destroy(store); /* the library did not take it */
  return status;
}
