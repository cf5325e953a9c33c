/* postgres_store.h - stores of many accounts in one PostgreSQL database; see postgres_store.c. */
#ifndef POSTGRES_STORE_H
#define POSTGRES_STORE_H

#include <omemo.h>
#include <stddef.h>

typedef struct postgres_pool postgres_pool;

/* Connects, and makes the two tables if the database does not have them. conninfo: as for PQconnectdb; it is never
 * shown. OMEMO_ERR_STORAGE: no connection, or a server that does not keep what it confirms. error (may be NULL) says
 * which. */
omemo_status postgres_pool_open(const char *conninfo, postgres_pool **pool, char *error, size_t error_size);

/* Opens the store of one account, under a name of at most 1000 bytes of your choice. OMEMO_ERR_STORAGE_LOCKED: it is
 * open already, here or in another process. */
omemo_status postgres_store_open(postgres_pool *pool, const char *account, omemo_storage **storage);

/* What failed last: a step and an SQLSTATE; no values, no names, nothing of conninfo. */
void postgres_pool_error(postgres_pool *pool, char *error, size_t error_size);

/* The connection closes when the last store of the pool is closed, too. */
void postgres_pool_close(postgres_pool *pool);

#endif
