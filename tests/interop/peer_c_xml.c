/* See peer_c_xml.h. For tests only: linked with GPL libraries, never installed. */
#include "peer_c_xml.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static int name_char(char c) {
  return isalnum((unsigned char)c) || strchr("_-.:", c) || (unsigned char)c >= 0x80;
}

static const char *skip_space(const char *at) {
  while (space(*at)) at++;
  return at;
}

/* The name at `*at`, which moves behind it; NULL when there is none. */
static const char *read_name(const char **at) {
  const char *from = *at;
  while (**at && name_char(**at)) (*at)++;
  return *at == from ? NULL : text_string(text_of(from, (size_t)(*at - from)));
}

static void add_utf8(struct text *text, unsigned long code) {
  uint8_t bytes[4];
  size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  static const uint8_t first[] = {0, 0, 0xc0, 0xe0, 0xf0};
  for (size_t i = len; i-- > 1;) {
    bytes[i] = (uint8_t)(0x80 | (code & 0x3f));
    code >>= 6;
  }
  bytes[0] = (uint8_t)(first[len] | code);
  text_add(text, bytes, len);
}

/* The reference at `*at` ("&...;") into the text. */
static int read_reference(struct text *text, const char **at) {
  static const struct {
    const char *name;
    char c;
  } entities[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
  for (size_t i = 0; i < sizeof entities / sizeof *entities; i++) {
    const size_t len = strlen(entities[i].name);
    if (strncmp(*at, entities[i].name, len) == 0) {
      text_add(text, &entities[i].c, 1);
      *at += len;
      return 0;
    }
  }
  if ((*at)[1] == '#') {
    const int hex = (*at)[2] == 'x';
    const char *from = *at + (hex ? 3 : 2);
    char *end;
    unsigned long code;
    if (!isxdigit((unsigned char)*from)) return -1;
    code = strtoul(from, &end, hex ? 16 : 10);
    if (*end != ';' || code == 0 || code > 0x10ffff) return -1;
    add_utf8(text, code);
    *at = end + 1;
    return 0;
  }
  return -1;
}

/* Character data up to one of the characters in `until`. */
static int read_text(struct text *text, const char **at, const char *until) {
  while (**at && !strchr(until, **at)) {
    if (**at == '&') {
      if (read_reference(text, at) < 0) return -1;
    } else if (**at == '\r') { /* an end of line is one character, however it came */
      text_add(text, "\n", 1);
      *at += (*at)[1] == '\n' ? 2 : 1;
    } else text_add(text, (*at)++, 1);
  }
  return **at ? 0 : -1;
}

static int read_attributes(struct element *element, const char **at) {
  for (;;) {
    const char *before = *at;
    struct attribute *attribute = text_alloc(sizeof *attribute);
    struct text value = text_of("", 0);
    char quote[3] = "?<";
    *at = skip_space(*at);
    if (**at == '>' || **at == '/') return 0;
    attribute->name = before == *at ? NULL : read_name(at);
    *at = skip_space(*at);
    if (!attribute->name || *(*at)++ != '=') return -1;
    if (xml_attribute(element, attribute->name)) return -1;
    *at = skip_space(*at);
    if (**at != '"' && **at != '\'') return -1;
    quote[0] = *(*at)++;
    if (read_text(&value, at, quote) < 0 || *(*at)++ != quote[0]) return -1;
    attribute->value = text_string(value);
    attribute->next = element->attributes;
    element->attributes = attribute;
  }
}

/* Splits the name and finds the namespace that its prefix, or the lack of it, stands for. */
static int resolve(struct element *element, const char *name) {
  const char *colon = strchr(name, ':');
  struct text declaration = text_of("xmlns", 5);
  element->name = colon ? colon + 1 : name;
  if (colon) text_addf(&declaration, ":%.*s", (int)(colon - name), name);
  for (const struct element *scope = element; scope; scope = scope->parent) {
    element->ns = xml_attribute(scope, text_string(declaration));
    if (element->ns) return 0;
  }
  element->ns = "";
  return colon ? -1 : 0;
}

/* Comments and processing instructions; 1 when there was one. */
static int skip_other(const char **at) {
  const char *end = NULL;
  if (strncmp(*at, "<!--", 4) == 0) end = strstr(*at + 4, "-->");
  else if (strncmp(*at, "<?", 2) == 0) end = strstr(*at + 2, "?>");
  if (!end) return 0;
  *at = end + (*end == '-' ? 3 : 2);
  return 1;
}

static struct element *open_element(const char **at, struct element *parent, int *empty) {
  struct element *element = text_alloc(sizeof *element);
  (*at)++;
  element->parent = parent;
  element->prefix = read_name(at);
  element->text = text_of("", 0);
  if (!element->prefix || read_attributes(element, at) < 0) return NULL;
  *empty = **at == '/';
  if (*empty) (*at)++;
  if (*(*at)++ != '>' || resolve(element, element->prefix) < 0) return NULL;
  if (parent) {
    struct element **place = &parent->child;
    while (*place) place = &(*place)->next;
    *place = element;
  }
  return element;
}

struct element *xml_read(const char *xml) {
  struct element *root = NULL, *inside = NULL;
  const char *at = skip_space(xml);
  do {
    if (skip_other(&at)) {
    } else if (strncmp(at, "</", 2) == 0) {
      const char *name;
      at += 2;
      name = read_name(&at);
      at = skip_space(at);
      if (!inside || !name || strcmp(name, inside->prefix) != 0 || *at++ != '>') return NULL;
      inside = inside->parent;
    } else if (strncmp(at, "<![CDATA[", 9) == 0) {
      const char *end = strstr(at + 9, "]]>");
      if (!inside || !end) return NULL;
      text_add(&inside->text, at + 9, (size_t)(end - at - 9));
      at = end + 3;
    } else if (*at == '<') {
      int empty = 0;
      struct element *element = open_element(&at, inside, &empty);
      if (!element) return NULL;
      if (!root) root = element;
      if (!empty) inside = element;
    } else if (!inside || read_text(&inside->text, &at, "<") < 0) return NULL;
    if (!inside) at = skip_space(at);
  } while (inside || !root);
  while (skip_other(&at)) at = skip_space(at);
  return *at ? NULL : root;
}

const char *xml_attribute(const struct element *element, const char *name) {
  const struct attribute *attribute = element->attributes;
  while (attribute && strcmp(attribute->name, name) != 0) attribute = attribute->next;
  return attribute ? attribute->value : NULL;
}

const struct element *xml_child(const struct element *element, const char *ns, const char *name,
                                const struct element *after) {
  const struct element *child = after ? after->next : element->child;
  while (child && (strcmp(child->ns, ns) != 0 || strcmp(child->name, name) != 0)) child = child->next;
  return child;
}

int xml_true(const char *value) {
  return value && (strcmp(value, "true") == 0 || strcmp(value, "1") == 0);
}
