/* A device's own keys, and the stores that libomemo-c and libsignal-protocol-c ask for. For tests only: linked with
 * GPL libraries, never installed.
 *
 * Everything that outlives the process of a client is in its table, as the bytes that the libraries serialise;
 * account_open makes the contexts of the libraries from nothing else. Built with WITH_LIBSIGNAL it is
 * libsignal-protocol-c's, which speaks the legacy namespace alone.
 *
 * Functions that return int return 0 or a negative code SG_ERR_...
 */
#ifndef PEER_C_ACCOUNT_H
#define PEER_C_ACCOUNT_H

#include "peer_c_table.h"

#include <signal_protocol.h>

/* A namespace, by the number that libomemo-c gives it. */
enum version {
  LEGACY = 3, /* eu.siacs.conversations.axolotl */
  OMEMO2 = 4  /* urn:xmpp:omemo:2 */
};

struct account {
  struct table table;
  signal_context *context;
  signal_protocol_store_context *store;
  ratchet_identity_key_pair *identity;
  uint32_t used; /* pre keys that key exchanges have used up since account_refill */
};

enum { PRE_KEYS = 100 };

/* New keys into the table; the pre keys count up from that id, and after 2^31-1 comes 0. */
int account_create(struct account *account, uint32_t device_id, uint32_t signed_pre_key_id, uint32_t first_pre_key);
/* The contexts, from the table. */
int account_open(struct account *account);
/* The table stays. */
void account_close(struct account *account);

/* Makes a pre key for each one that was used. */
int account_refill(struct account *account);
/* One pre key, with that id, instead of all others. */
int account_single_pre_key(struct account *account, uint32_t id);
uint32_t account_device_id(const struct account *account);
/* 32 bytes: Ed25519 with libomemo-c, else Curve25519. */
int account_identity(const struct account *account, struct text *key);

/* A key as it is published in a namespace. */
int account_wire_key(struct text *out, const ec_public_key *key, enum version version, int is_identity);
/* What a device publishes. */
struct own_bundle {
  uint32_t signed_pre_key_id;
  struct text identity, signed_pre_key, signature;
};
int account_bundle(const struct account *account, enum version version, struct own_bundle *bundle);
/* The pre key in that entry of the table, which has the prefix PRE_KEY. */
#define PRE_KEY "pre_key "
int account_pre_key(const struct account *account, const struct entry *entry, enum version version, uint32_t *id,
                    struct text *key);

#endif
