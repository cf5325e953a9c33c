/* Bytes and text that live until the end of a request, and their spellings. For tests only: linked with GPL libraries,
 * never installed.
 *
 * Everything here is freed at once by text_free_all. A text always ends with a NUL that its length does not count, so
 * that it can be read as a string. Without memory the process ends.
 */
#ifndef PEER_C_TEXT_H
#define PEER_C_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct text {
  uint8_t *data;
  size_t len;
};

void *text_alloc(size_t size); /* zeroed */
void text_free_all(void);

/* Of that length, zeroed. */
struct text text_sized(size_t len);
struct text text_of(const void *data, size_t len);
const char *text_string(struct text text);
void text_add(struct text *text, const void *data, size_t len);
void text_addf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* For XML, in attributes and content alike. */
void text_add_escaped(struct text *text, const char *string);

struct text text_hex(const void *data, size_t len);
struct text text_base64(struct text bytes);
/* White space anywhere is skipped. 0, or -1 for what is no base64. */
int text_from_base64(struct text *bytes, const char *base64);
/* A decimal number of 32 bits: 0, or -1. */
int text_number(uint32_t *number, const char *string);

#endif
