/* libomemo-c or libsignal-protocol-c (WITH_LIBSIGNAL) as the other side of a conversation, driven over standard input
 * and output. For tests only: linked with GPL libraries, never installed.
 *
 * The parent writes one request, a record (peer_c_pipe.h), and reads records until one has the field "done". Each
 * record before that is a question about PEP, with the field "ask", which the parent answers with one record. Requests:
 *
 *   seed(seed)                    all draws from this seed from now on
 *   device(name, jid, [ns..], [signed_pre_key_id], [first_pre_key]) -> device, identity
 *   restart(name)                 everything anew from what the device has serialised
 *   encrypt(name, to.., text)     -> xml.., error_devices..
 *   transport(name, to.., [tag])  -> xml, key, [tag], iv: a legacy key without content
 *   decrypt(name, sender, xml)    -> ok, device, identity, level, [text], [key], [tag], [iv]; or ok=0, class, cause,
 * why number(name, ns, id)          the bundle there holds one pre key, with this id replace(name, jid, device)    a
 * new session with it; the key exchange is in the outbox outbox(name)                  -> jid.., xml.. lose(name,
 * count)             its next messages never reach the wire push(name, ns, jid, xml)      a device list came by PEP
 *   forget(), quit()
 *
 * What fails answers "failed", the name of a class, and "why".
 */
#include "peer_c_client.h"
#include "peer_c_crypto.h"
#include "peer_c_stanza.h"

#include <stdlib.h>
#include <string.h>

struct named {
  struct named *next;
  char *name;
  struct client client;
};

static struct named *devices;

static struct client *find(const char *name) {
  struct named *named = devices;
  while (named && strcmp(named->name, name) != 0) named = named->next;
  return named ? &named->client : NULL;
}

static void forget(void) {
  while (devices) {
    struct named *named = devices;
    devices = named->next;
    client_close(&named->client);
    free(named->name);
    free(named);
  }
}

static char *string_copy(const char *string) {
  char *copy = malloc(strlen(string) + 1);
  if (!copy) exit(1);
  return strcpy(copy, string);
}

static void failed(struct record *answer, const char *class, const char *why) {
  record_string(answer, "failed", class);
  record_string(answer, "why", why);
}

/* The versions in the order of the request; all that the library speaks without one. */
static int choose_versions(enum version versions[2], const struct record *request) {
#ifdef WITH_LIBSIGNAL
  static const enum version spoken[2] = {LEGACY, (enum version)0};
#else
  static const enum version spoken[2] = {OMEMO2, LEGACY};
#endif
  const struct field *ns = NULL;
  int count = 0;
  while ((ns = record_find(request, "ns", ns))) {
    const enum version version = stanza_version(text_string(ns->value));
    if (count == 2 || !version || (version != spoken[0] && version != spoken[1])) return -1;
    versions[count++] = version;
  }
  if (!count) memcpy(versions, spoken, sizeof spoken);
  return 0;
}

static void new_device(const struct record *request, struct record *answer) {
  struct named *named;
  enum version versions[2] = {(enum version)0, (enum version)0};
  uint32_t signed_pre_key_id, first_pre_key;
  struct text identity;
  if (choose_versions(versions, request) < 0 ||
      text_number(&signed_pre_key_id, record_get(request, "signed_pre_key_id", "1")) < 0 ||
      text_number(&first_pre_key, record_get(request, "first_pre_key", "1")) < 0) {
    failed(answer, "ValueError", "a namespace or an id");
    return;
  }
  named = calloc(1, sizeof *named);
  if (!named) exit(1);
  named->name = string_copy(record_get(request, "name", ""));
  named->client.jid = string_copy(record_get(request, "jid", ""));
  memcpy(named->client.versions, versions, sizeof versions);
  named->next = devices;
  devices = named; /* in front: a name that comes again means the new device */
  if (client_join(&named->client, signed_pre_key_id, first_pre_key) < 0) {
    failed(answer, named->client.failure.class, named->client.failure.why);
  } else if (account_identity(&named->client.account, &identity) < 0) {
    failed(answer, "InternalError", "the identity key");
  } else {
    record_number(answer, "device", account_device_id(&named->client.account));
    record_add(answer, "identity", text_hex(identity.data, identity.len));
  }
}

static void decrypt(struct client *client, const struct record *request, struct record *answer) {
  struct record content = {NULL, NULL};
  const struct failure *failure = &client->failure;
  if (client_decrypt(client, record_get(request, "sender", ""), record_get(request, "xml", ""), &content) == 0) {
    record_string(answer, "ok", "1");
    for (const struct field *field = content.first; field; field = field->next)
      record_add(answer, field->name, field->value);
    return;
  }
  record_string(answer, "ok", "0");
  record_string(answer, "class", failure->class);
  if (failure->cause) record_string(answer, "cause", failure->cause);
  record_string(answer, "why", failure->why);
}

/* A request about one device. -1 when it failed, with the reason in the client; 1 when there is no such request. */
static int about_device(struct client *client, const char *what, const struct record *request, struct record *answer) {
  uint32_t count;
  if (strcmp(what, "restart") == 0) return client_restart(client);
  if (strcmp(what, "encrypt") == 0) return client_encrypt(client, request, answer);
  if (strcmp(what, "transport") == 0) return client_transport(client, request, answer);
  if (strcmp(what, "replace") == 0) return client_replace(client, request);
  if (strcmp(what, "number") == 0 && text_number(&count, record_get(request, "id", "")) == 0)
    return client_number(client, stanza_version(record_get(request, "ns", "")), count);
  if (strcmp(what, "push") == 0)
    return client_push(client, stanza_version(record_get(request, "ns", "")), record_get(request, "jid", ""),
                       record_get(request, "xml", ""));
  if (strcmp(what, "decrypt") == 0) decrypt(client, request, answer);
  else if (strcmp(what, "outbox") == 0) client_outbox(client, answer);
  else if (strcmp(what, "lose") == 0 && text_number(&count, record_get(request, "count", "1")) == 0)
    client->lose += count;
  else return 1;
  return 0;
}

static void serve(const char *what, const struct record *request, struct record *answer) {
  const char *name = record_get(request, "name", "");
  struct client *client = find(name);
  int code;
  if (strcmp(what, "seed") == 0) {
    const char *seed = record_get(request, "seed", "");
    crypto_seed(seed, strlen(seed));
  } else if (strcmp(what, "forget") == 0) forget();
  else if (strcmp(what, "device") == 0) new_device(request, answer);
  else if (!client) failed(answer, "KeyError", "no such device");
  else {
    code = about_device(client, what, request, answer);
    if (code < 0) failed(answer, client->failure.class, client->failure.why);
    else if (code > 0) failed(answer, "RuntimeError", "no such request");
  }
}

int main(void) {
  struct record request;
  while (record_read(&request, stdin)) {
    const char *what = record_get(&request, "do", "");
    struct record answer = {NULL, NULL};
    const int last = strcmp(what, "quit") == 0;
    record_string(&answer, "done", "1");
    if (!last) serve(what, &request, &answer);
    record_write(&answer, stdout);
    text_free_all();
    if (last) break;
  }
  forget();
  return 0;
}
