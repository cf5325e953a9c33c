/* A plain client: what it publishes, whom it encrypts for, how it answers. For tests only: linked with GPL libraries,
 * never installed.
 *
 * PEP and the wire are the parent's, by questions and by answers to requests. Everybody is trusted. Functions return 0,
 * or -1 with the reason in the client's `failure`.
 */
#ifndef PEER_C_CLIENT_H
#define PEER_C_CLIENT_H

#include "peer_c_account.h"
#include "peer_c_pipe.h"

/* By the names that python-omemo gives the classes of its exceptions. */
struct failure {
  const char *class, *cause, *why;
};

/* A message that waits for the parent to fetch it. */
struct letter {
  struct letter *next;
  char *jid, *xml;
};

struct client {
  struct account account;
  char *jid;
  enum version versions[2]; /* most preferred first; 0 for none */
  struct letter *outbox;
  uint32_t lose; /* that many messages never reach the wire */
  struct failure failure;
};

/* New keys, bundle and device list published. The ids of keys are those that account_create wants. */
int client_join(struct client *client, uint32_t signed_pre_key_id, uint32_t first_pre_key);
int client_restart(struct client *client);
/* The bundle holds one pre key from now on, with that id. */
int client_number(struct client *client, enum version version, uint32_t id);
void client_close(struct client *client);

int client_push(struct client *client, enum version version, const char *jid, const char *list);
/* Answers go into records: see the requests in peer_c.c. */
int client_encrypt(struct client *client, const struct record *request, struct record *answer);
int client_transport(struct client *client, const struct record *request, struct record *answer);
int client_replace(struct client *client, const struct record *request);
int client_decrypt(struct client *client, const char *sender, const char *xml, struct record *answer);
void client_outbox(struct client *client, struct record *answer);

#endif
