/* postgres_pool.c - one connection to PostgreSQL that many stores share: checks, reconnection, errors. The stores are
 * in postgres_store.c, which says what all of it is for.
 */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif
#include "postgres_pool.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RETRY_MS = 1000 };

static const char *const statements[][2] = {
    {"lock", "SELECT pg_try_advisory_lock(hashtextextended('libomemo ' || $1::text, 0))"},
    {"unlock", "SELECT pg_advisory_unlock(hashtextextended('libomemo ' || $1::text, 0))"},
    {"add", "INSERT INTO omemo_account (account) VALUES ($1) ON CONFLICT DO NOTHING"},
    {"row", "SELECT revision::text, last_commit FROM omemo_account WHERE account = $1"},
    {"load", "SELECT value FROM omemo_record WHERE account = $1 AND key = $2"},
    {"ahead", "SELECT key, value FROM omemo_record WHERE account = $1 AND starts_with(key, $2::text) "
              "AND key >= $2 AND key < $2 || '~' ORDER BY key LIMIT 300"},
    {"begin", "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"},
    {"count",
     "UPDATE omemo_account SET revision = revision + 1, last_commit = $3 WHERE account = $1 AND revision = $2"},
    {"put", "INSERT INTO omemo_record (account, key, value) VALUES ($1, $2, $3) "
            "ON CONFLICT (account, key) DO UPDATE SET value = excluded.value"},
    {"drop", "DELETE FROM omemo_record WHERE account = $1 AND key = $2"},
};

/* Two processes that come first at the same time: one waits for the other. */
static const char tables[] =
    "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('libomemo', 0));"
    "CREATE TABLE IF NOT EXISTS omemo_account (account text COLLATE \"C\" PRIMARY KEY, revision bigint NOT NULL "
    "DEFAULT 0,"
    " last_commit bytea NOT NULL DEFAULT decode(repeat('00', 16), 'hex'));"
    "CREATE TABLE IF NOT EXISTS omemo_record (account text COLLATE \"C\" NOT NULL, key text COLLATE \"C\" NOT NULL,"
    " value bytea NOT NULL, PRIMARY KEY (account, key));"
    "COMMIT";

/* What the server has to say of itself, and what this session fixes: keepalives, that the lock of a machine that
 * vanished ends in a minute, and durability, lest a new configuration of the server take it back. */
static const char checks[] =
    "SELECT current_setting('synchronous_commit') IN ('on', 'remote_apply'), current_setting('fsync') = 'on',"
    " NOT pg_is_in_recovery(), pg_backend_pid(), to_regclass('omemo_record') IS NOT NULL,"
    " set_config('synchronous_commit', current_setting('synchronous_commit'), false),"
    " set_config('tcp_keepalives_idle', '30', false), set_config('tcp_keepalives_interval', '10', false),"
    " set_config('tcp_keepalives_count', '3', false)";

int64_t postgres_now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* -- what failed: never the words of the server, which may quote values -- */

omemo_status postgres_failure(postgres_pool *pool, const char *step, const PGresult *result) {
  const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
  snprintf(pool->error, sizeof pool->error, state ? "%s failed with SQLSTATE %s" : "%s failed", step,
           state ? state : "");
  return OMEMO_ERR_STORAGE;
}

static omemo_status refusal(postgres_pool *pool, const char *why) {
  snprintf(pool->error, sizeof pool->error, "%s", why);
  return OMEMO_ERR_STORAGE;
}

/* A warning at COMMIT: it stopped to wait for a standby. libpq would print it. */
static void on_notice(void *user_data, const PGresult *result) {
  const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  if (severity && strcmp(severity, "WARNING") == 0) ((postgres_pool *)user_data)->warned = true;
}

/* -- the session -- */

bool postgres_is_yes(const PGresult *result, int column) {
  return PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, column), "t") == 0;
}

static omemo_status session_check(postgres_pool *pool, bool *has_tables) {
  PGresult *result = PQexec(pool->connection, checks);
  omemo_status status = OMEMO_OK;
  if (PQresultStatus(result) != PGRES_TUPLES_OK)
    status = postgres_failure(pool, "asking the server for its settings", result);
  else if (!postgres_is_yes(result, 0)) status = refusal(pool, "synchronous_commit must be on or remote_apply");
  else if (!postgres_is_yes(result, 1)) status = refusal(pool, "fsync must be on");
  else if (!postgres_is_yes(result, 2)) status = refusal(pool, "the server is a standby");
  else if (atoi(PQgetvalue(result, 0, 3)) != PQbackendPID(pool->connection))
    status = refusal(pool, "a pooler stands before the server: connect directly");
  else *has_tables = postgres_is_yes(result, 4);
  PQclear(result);
  return status;
}

static omemo_status session_prepare(postgres_pool *pool) {
  bool has_tables = false;
  omemo_status status = session_check(pool, &has_tables);
  if (status == OMEMO_OK && !has_tables) {
    PGresult *result = PQexec(pool->connection, tables);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) status = postgres_failure(pool, "making the tables", result);
    PQclear(result);
  }
  for (size_t i = 0; status == OMEMO_OK && i < sizeof statements / sizeof *statements; i++) {
    PGresult *result = PQprepare(pool->connection, statements[i][0], statements[i][1], 0, NULL);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) status = postgres_failure(pool, "preparing a statement", result);
    PQclear(result);
  }
  return status;
}

/* There is a session after this, that of before or a new one. */
omemo_status postgres_session(postgres_pool *pool) {
  if (pool->ready && PQstatus(pool->connection) == CONNECTION_OK) return OMEMO_OK;
  if (postgres_now_ms() < pool->retry_at) return OMEMO_ERR_STORAGE;
  pool->ready = false;
  if (pool->generation > 0) PQreset(pool->connection);
  pool->generation++; /* no store has its lock any more */
  omemo_status status = OMEMO_OK;
  if (PQstatus(pool->connection) != CONNECTION_OK) status = postgres_failure(pool, "connecting", NULL);
  else status = session_prepare(pool);
  pool->ready = status == OMEMO_OK;
  if (!pool->ready) pool->retry_at = postgres_now_ms() + RETRY_MS;
  return status;
}

/* Whether a call that failed may be made again at once: in a new session. */
bool postgres_broke(postgres_pool *pool) {
  if (pool->ready && PQstatus(pool->connection) == CONNECTION_OK) return false;
  pool->ready = false;
  return true;
}

/* -- the pool -- */

omemo_status postgres_pool_open(const char *conninfo, postgres_pool **pool, char *error, size_t error_size) {
  /* What conninfo says itself counts more than what stands before it. */
  static const char *const keywords[] = {"connect_timeout",
                                         "tcp_user_timeout",
                                         "keepalives_idle",
                                         "dbname",
                                         "client_encoding",
                                         "fallback_application_name",
                                         NULL};
  const char *const values[] = {"5", "20000", "30", conninfo, "UTF8", "libomemo", NULL};
  postgres_pool *made = calloc(1, sizeof *made);
  if (!made) return OMEMO_ERR_STORAGE;
  pthread_mutex_init(&made->mutex, NULL);
  made->connection = PQconnectdbParams(keywords, values, 1);
  PQsetNoticeReceiver(made->connection, on_notice, made);
  omemo_status status = postgres_session(made);
  if (error) postgres_pool_error(made, error, error_size);
  if (status == OMEMO_OK) *pool = made;
  else postgres_pool_close(made);
  return status;
}

void postgres_pool_error(postgres_pool *pool, char *error, size_t error_size) {
  pthread_mutex_lock(&pool->mutex);
  snprintf(error, error_size, "%s", pool->error);
  pthread_mutex_unlock(&pool->mutex);
}

void postgres_pool_end(postgres_pool *pool) {
  PQfinish(pool->connection);
  pthread_mutex_destroy(&pool->mutex);
  free(pool);
}

void postgres_pool_close(postgres_pool *pool) {
  if (!pool) return;
  pthread_mutex_lock(&pool->mutex);
  pool->closed = true;
  bool last = !pool->stores;
  pthread_mutex_unlock(&pool->mutex);
  if (last) postgres_pool_end(pool);
}
