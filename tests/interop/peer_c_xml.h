/* XML into a tree. For tests only: linked with GPL libraries, never installed.
 *
 * Reads what stanzas and PEP items are made of: elements with namespaces (prefixed or not), attributes in either
 * quotes, the five entities and character references, CDATA. Document types are refused. It does not know OMEMO. The
 * tree lives until text_free_all.
 */
#ifndef PEER_C_XML_H
#define PEER_C_XML_H

#include "peer_c_text.h"

struct attribute {
  struct attribute *next;
  const char *name, *value; /* the name with its prefix */
};

struct element {
  struct element *next, *child, *parent;
  const char *ns, *name;
  const char *prefix;
  struct attribute *attributes;
  struct text text; /* all character data that is directly in it */
};

/* The root, or NULL for what is not well-formed. */
struct element *xml_read(const char *xml);

/* NULL when there is no such attribute. */
const char *xml_attribute(const struct element *element, const char *name);
/* The first child of that name in the namespace, or the next one of it after `after`; NULL when there is none. */
const struct element *xml_child(const struct element *element, const char *ns, const char *name,
                                const struct element *after);
/* An xs:boolean: absent is false. */
int xml_true(const char *value);

#endif
