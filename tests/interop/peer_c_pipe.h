/* Records on a pipe: fields of a name and bytes. For tests only: linked with GPL libraries, never installed.
 *
 * A field is `name length LF bytes LF`; an empty line ends a record; a list is a name that comes several times. This
 * knows nothing of what the fields mean.
 */
#ifndef PEER_C_PIPE_H
#define PEER_C_PIPE_H

#include "peer_c_text.h"

#include <stdio.h>

struct field {
  struct field *next;
  const char *name;
  struct text value;
};

struct record {
  struct field *first, *last;
};

/* 1, or 0 at the end of the pipe. A malformed record ends the process. */
int record_read(struct record *record, FILE *from);
void record_write(const struct record *record, FILE *to);

void record_add(struct record *record, const char *name, struct text value);
void record_string(struct record *record, const char *name, const char *value);
void record_number(struct record *record, const char *name, uint32_t value);

/* The field of that name, or the next one of it after `after`; NULL when there is none. */
const struct field *record_find(const struct record *record, const char *name, const struct field *after);
/* The value as a string, or `otherwise`. */
const char *record_get(const struct record *record, const char *name, const char *otherwise);

#endif
