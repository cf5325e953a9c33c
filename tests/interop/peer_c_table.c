/* See peer_c_table.h. For tests only: linked with GPL libraries, never installed. */
#include "peer_c_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *owned(const void *data, size_t len) {
  uint8_t *copy = malloc(len + 1);
  if (!copy) {
    fputs("peer: no memory\n", stderr);
    exit(1);
  }
  if (len) memcpy(copy, data, len);
  copy[len] = 0;
  return copy;
}

/* The place that points to the entry of that key, or the end. */
static struct entry **place_of(struct table *table, const char *key) {
  struct entry **place = &table->first;
  while (*place && strcmp((*place)->key, key) != 0) place = &(*place)->next;
  return place;
}

void table_put(struct table *table, const char *key, const void *data, size_t len) {
  struct entry **place = place_of(table, key);
  uint8_t *copy = owned(data, len);
  if (!*place) {
    const struct entry fresh = {NULL, owned(key, strlen(key)), {NULL, 0}};
    *place = owned(&fresh, sizeof fresh);
  }
  free((*place)->value.data);
  (*place)->value.data = copy;
  (*place)->value.len = len;
}

const struct entry *table_get(const struct table *table, const char *key) {
  const struct entry *entry = table->first;
  while (entry && strcmp(entry->key, key) != 0) entry = entry->next;
  return entry;
}

static void free_entry(struct entry *entry) {
  free(entry->key);
  free(entry->value.data);
  free(entry);
}

int table_remove(struct table *table, const char *key) {
  struct entry **place = place_of(table, key), *entry = *place;
  if (!entry) return 0;
  *place = entry->next;
  free_entry(entry);
  return 1;
}

const struct entry *table_find(const struct table *table, const char *prefix, const struct entry *after) {
  const struct entry *entry = after ? after->next : table->first;
  while (entry && strncmp(entry->key, prefix, strlen(prefix)) != 0) entry = entry->next;
  return entry;
}

void table_free(struct table *table) {
  while (table->first) {
    struct entry *entry = table->first;
    table->first = entry->next;
    free_entry(entry);
  }
}
