/* What a device keeps over a restart: bytes by a key that is a string. For tests only: linked with GPL libraries,
 * never installed. Entries stay in the order in which they were first put. */
#ifndef PEER_C_TABLE_H
#define PEER_C_TABLE_H

#include "peer_c_text.h"

struct entry {
  struct entry *next;
  char *key;
  struct text value; /* lives until it is put anew or removed */
};

struct table {
  struct entry *first;
};

void table_put(struct table *table, const char *key, const void *data, size_t len);
/* NULL when there is none. */
const struct entry *table_get(const struct table *table, const char *key);
/* 1 when there was one. */
int table_remove(struct table *table, const char *key);
/* The first entry whose key begins with that, or the next one after `after`. */
const struct entry *table_find(const struct table *table, const char *prefix, const struct entry *after);
void table_free(struct table *table);

#endif
