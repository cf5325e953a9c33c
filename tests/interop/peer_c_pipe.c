/* See peer_c_pipe.h. For tests only: linked with GPL libraries, never installed. */
#include "peer_c_pipe.h"

#include <stdlib.h>
#include <string.h>

static void malformed(void) {
  fputs("peer: a malformed record\n", stderr);
  exit(1);
}

void record_add(struct record *record, const char *name, struct text value) {
  struct field *field = text_alloc(sizeof *field);
  field->name = name;
  field->value = value;
  if (record->last) record->last->next = field;
  else record->first = field;
  record->last = field;
}

void record_string(struct record *record, const char *name, const char *value) {
  record_add(record, name, text_of(value, strlen(value)));
}

void record_number(struct record *record, const char *name, uint32_t value) {
  struct text text = text_of("", 0);
  text_addf(&text, "%lu", (unsigned long)value);
  record_add(record, name, text);
}

int record_read(struct record *record, FILE *from) {
  char head[128];
  memset(record, 0, sizeof *record);
  for (;;) {
    struct text value;
    char *space;
    uint32_t len;
    if (!fgets(head, sizeof head, from)) return 0;
    if (strcmp(head, "\n") == 0) return 1;
    space = strchr(head, ' ');
    head[strcspn(head, "\n")] = 0;
    if (!space || text_number(&len, space + 1) < 0) malformed();
    *space = 0;
    value = text_sized(len);
    if (fread(value.data, 1, len, from) != len || fgetc(from) != '\n') malformed();
    record_add(record, text_string(text_of(head, strlen(head))), value);
  }
}

void record_write(const struct record *record, FILE *to) {
  for (const struct field *field = record->first; field; field = field->next) {
    fprintf(to, "%s %zu\n", field->name, field->value.len);
    fwrite(field->value.data, 1, field->value.len, to);
    fputc('\n', to);
  }
  fputc('\n', to);
  fflush(to);
}

const struct field *record_find(const struct record *record, const char *name, const struct field *after) {
  const struct field *field = after ? after->next : record->first;
  while (field && strcmp(field->name, name) != 0) field = field->next;
  return field;
}

const char *record_get(const struct record *record, const char *name, const char *otherwise) {
  const struct field *field = record_find(record, name, NULL);
  return field ? text_string(field->value) : otherwise;
}
