/* postgres_pool.h - what postgres_pool.c and postgres_store.c know of each other. Programs include postgres_store.h. */
#ifndef POSTGRES_POOL_H
#define POSTGRES_POOL_H

#include "postgres_store.h"
#include <libpq-fe.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct postgres_store;

struct postgres_pool {
  pthread_mutex_t mutex; /* held during each use of all below */
  PGconn *connection;
  struct postgres_store *stores;
  uint64_t generation; /* counts the sessions */
  bool ready;          /* the session was checked and prepared */
  bool warned;         /* by the server, since somebody looked */
  bool closed;
  int64_t retry_at; /* not before: a server that is away must not hold up every call */
  char error[160];
};

/* There is a session after this, that of before or a new one. */
omemo_status postgres_session(postgres_pool *pool);

/* Whether a call that failed may be made again at once: in a new session. */
bool postgres_broke(postgres_pool *pool);

/* Notes what failed, by a step and an SQLSTATE: never the words of the server, which may quote values. */
omemo_status postgres_failure(postgres_pool *pool, const char *step, const PGresult *result);

bool postgres_is_yes(const PGresult *result, int column);
int64_t postgres_now_ms(void);

/* Closes a pool of which no store is left and which its owner has closed. */
void postgres_pool_end(postgres_pool *pool);

#endif
