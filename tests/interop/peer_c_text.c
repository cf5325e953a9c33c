/* See peer_c_text.h. For tests only: linked with GPL libraries, never installed. */
#include "peer_c_text.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct block {
  struct block *next;
  max_align_t data[];
};

static struct block *blocks;

void *text_alloc(size_t size) {
  struct block *block = calloc(1, sizeof *block + size);
  if (!block) {
    fputs("peer: no memory\n", stderr);
    exit(1);
  }
  block->next = blocks;
  blocks = block;
  return block->data;
}

void text_free_all(void) {
  while (blocks) {
    struct block *block = blocks;
    blocks = block->next;
    free(block);
  }
}

/* The room of a text is the power of two above its length, so that adding byte by byte costs little. */
static size_t room(size_t len) {
  size_t size = 32;
  while (size <= len) size *= 2;
  return size;
}

struct text text_sized(size_t len) {
  const struct text text = {text_alloc(room(len)), len};
  return text;
}

struct text text_of(const void *data, size_t len) {
  const struct text text = text_sized(len);
  if (len) memcpy(text.data, data, len);
  return text;
}

const char *text_string(struct text text) {
  return text.data ? (const char *)text.data : "";
}

void text_add(struct text *text, const void *data, size_t len) {
  const size_t need = room(text->len + len);
  if (!text->data || need != room(text->len)) {
    uint8_t *grown = text_alloc(need);
    if (text->len) memcpy(grown, text->data, text->len);
    text->data = grown;
  }
  if (len) memcpy(text->data + text->len, data, len);
  text->len += len;
  text->data[text->len] = 0;
}

void text_addf(struct text *text, const char *format, ...) {
  va_list arguments;
  int len;
  char *made;
  va_start(arguments, format);
  len = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  if (len < 0) exit(1);
  made = text_alloc((size_t)len + 1);
  va_start(arguments, format);
  vsnprintf(made, (size_t)len + 1, format, arguments);
  va_end(arguments);
  text_add(text, made, (size_t)len);
}

void text_add_escaped(struct text *text, const char *string) {
  for (; *string; string++) {
    switch (*string) {
    case '&':
      text_addf(text, "&amp;");
      break;
    case '<':
      text_addf(text, "&lt;");
      break;
    case '>':
      text_addf(text, "&gt;");
      break;
    case '\'':
      text_addf(text, "&apos;");
      break;
    case '"':
      text_addf(text, "&quot;");
      break;
    default:
      text_add(text, string, 1);
    }
  }
}

struct text text_hex(const void *data, size_t len) {
  static const char digits[] = "0123456789abcdef";
  struct text hex = text_of("", 0);
  for (size_t i = 0; i < len; i++) {
    const uint8_t byte = ((const uint8_t *)data)[i];
    text_add(&hex, &digits[byte >> 4], 1);
    text_add(&hex, &digits[byte & 15], 1);
  }
  return hex;
}

struct text text_base64(struct text bytes) {
  struct text made = text_sized(bytes.len / 3 * 4 + 4);
  made.len = (size_t)EVP_EncodeBlock(made.data, bytes.data, (int)bytes.len);
  return made;
}

int text_from_base64(struct text *bytes, const char *base64) {
  struct text dense = text_of("", 0);
  int len;
  size_t padding = 0;
  for (; *base64; base64++)
    if (!isspace((unsigned char)*base64)) text_add(&dense, base64, 1);
  while (padding < 2 && padding < dense.len && dense.data[dense.len - 1 - padding] == '=') padding++;
  if (dense.len % 4 != 0) return -1;
  *bytes = text_sized(dense.len / 4 * 3);
  len = EVP_DecodeBlock(bytes->data, dense.data, (int)dense.len);
  if (len < 0) return -1;
  bytes->len = (size_t)len - padding;
  bytes->data[bytes->len] = 0;
  return 0;
}

int text_number(uint32_t *number, const char *string) {
  uint64_t value = 0;
  if (!*string) return -1;
  for (; *string; string++) {
    if (!isdigit((unsigned char)*string)) return -1;
    value = value * 10 + (uint64_t)(*string - '0');
    if (value > UINT32_MAX) return -1;
  }
  *number = (uint32_t)value;
  return 0;
}
