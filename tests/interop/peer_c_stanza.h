/* The XML of OMEMO in both namespaces, written and read. For tests only: linked with GPL libraries, never installed.
 *
 * Device lists, bundles, <encrypted/> and the SCE envelope. This knows no sessions. Functions that return int return
 * 0, or -1 for XML that is not what it should be.
 */
#ifndef PEER_C_STANZA_H
#define PEER_C_STANZA_H

#include "peer_c_session.h"
#include "peer_c_xml.h"

const char *stanza_namespace(enum version version);
/* 0 for a namespace that is not OMEMO's. */
enum version stanza_version(const char *ns);

/* Whether the list has the device. An empty or missing list ("") has none. */
int stanza_list_has(const char *list, uint32_t device);
/* The devices of a list in its order; -1 for what is no list. */
int stanza_list(enum version version, const char *list, uint32_t **devices, size_t *count);
/* The list with the device added; labels of others stay. */
struct text stanza_list_with(enum version version, const char *list, uint32_t device);

int stanza_own_bundle(const struct account *account, enum version version, struct text *xml);
/* A bundle with one pre key of it, drawn at random. */
int stanza_bundle(enum version version, const char *xml, struct bundle *bundle);

/* A key for a device. */
struct key {
  struct key *next;
  const char *jid; /* NULL in legacy, when it was read */
  uint32_t device;
  int exchange;
  struct text data;
};

/* An <encrypted/>. */
struct encrypted {
  enum version version;
  uint32_t sender;
  struct key *keys;
  struct text iv;
  int has_payload;
  struct text payload;
};

struct text stanza_write(const struct encrypted *encrypted);
int stanza_read(const char *xml, struct encrypted *encrypted);

struct text stanza_wrap(const char *body, const char *from);
/* The body, if the envelope is of that sender and padded. */
int stanza_unwrap(struct text envelope, const char *from, struct text *body);

#endif
