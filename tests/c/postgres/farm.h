/* Accounts in PostgreSQL, in pairs that write to each other, with a journal outside of the store: each stanza before it
 * is delivered, each text after it was read. */
#ifndef POSTGRES_FARM_H
#define POSTGRES_FARM_H

#include "../../../examples-c/postgres_store.h"
#include "keys.h"
#include <fcntl.h>
#include <libpq-fe.h>
#include <time.h>
#include <unistd.h>

struct member {
  struct account account; /* first: the world calls with it */
  char jid[64];
  struct member *partner;
  unsigned written;
};

struct stanza {
  char *from, *to, *text; /* text "-": one that no user sees */
  char *xml;
};

struct post {
  struct stanza *all;
  size_t count;
};

static int journal = -1;
static struct post waiting; /* sent, not delivered */
static struct post silent;  /* delivered, of those that no user sees */
static unsigned long storage_failures, delivered_texts;

static inline bool is_storage(omemo_status status) {
  return status == OMEMO_ERR_STORAGE || status == OMEMO_ERR_STORAGE_LOCKED;
}

static inline void nap(int ms) {
  struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};
  nanosleep(&pause, NULL);
}

static inline double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline void post_add(struct post *post, const char *from, const char *to, const char *text, const char *xml) {
  post->all = need(realloc(post->all, (post->count + 1) * sizeof *post->all));
  post->all[post->count++] = (struct stanza){copy(from), copy(to), copy(text), copy(xml)};
}

static inline void stanza_free(struct stanza *stanza) {
  free(stanza->from);
  free(stanza->to);
  free(stanza->text);
  free(stanza->xml);
}

static inline void post_free(struct post *post) {
  for (size_t i = 0; i < post->count; i++) stanza_free(&post->all[i]);
  free(post->all);
  memset(post, 0, sizeof *post);
}

/* One line, in one write, on the disk when this returns. */
static inline void write_line(char kind, const char *a, const char *b, const char *text, const char *xml) {
  if (journal < 0) return;
  size_t size = strlen(a) + strlen(b) + strlen(text) + strlen(xml) + 8;
  char *line = need(malloc(size));
  int len = snprintf(line, size, "%c %s %s %s %s\n", kind, a, b, text, xml);
  CHECK(strchr(xml, '\n') == NULL && write(journal, line, (size_t)len) == (ssize_t)len && fdatasync(journal) == 0);
  free(line);
}

static inline void send_off(const char *from, const char *to, const char *text, const char *xml) {
  write_line('S', from, to, text, xml);
  post_add(&waiting, from, to, text, xml);
}

/* The world has just noted a message of the library's own; other questions leave it as it is. */
static inline void in_question(struct account *account) {
  if (!account->sent_xml) return;
  send_off(account->jid, account->sent_to, "-", account->sent_xml);
  free(account->sent_xml);
  account->sent_xml = NULL;
}

static inline void member_init(struct member *member, const char *jid, struct member *partner) {
  memset(member, 0, sizeof *member);
  snprintf(member->jid, sizeof member->jid, "%s", jid);
  member->account.jid = member->jid;
  member->account.in_question = in_question;
  member->partner = partner;
}

/* Opens the account in its store; what fails is returned. */
static inline omemo_status member_open(struct member *member, postgres_pool *pool) {
  omemo_storage *storage = NULL;
  omemo_status status = postgres_store_open(pool, member->jid, &storage);
  if (status != OMEMO_OK) return status;
  member->account.storage = storage;
  omemo_config *config = account_config(&member->account);
  status = omemo_manager_new(config, &member->account.manager);
  omemo_config_free(config);
  omemo_storage_free(storage);
  member->account.storage = NULL;
  return status;
}

static inline void member_close(struct member *member) {
  if (member->account.manager) account_free(&member->account);
}

/* Runs until nothing moves or the store fails: then again later. */
static inline void member_run(struct member *member) {
  for (int i = 0; i < 20; i++) {
    omemo_status status = omemo_manager_run(member->account.manager);
    if (is_storage(status)) storage_failures++;
    else CHECK(status == OMEMO_OK);
    if (status != OMEMO_OK || omemo_manager_timeout(member->account.manager) != 0) return;
  }
}

/* What became of a stanza: OMEMO_OK, or why it could not be read. The store may fail for a while. */
static inline omemo_status receive(struct member *to, const struct stanza *stanza) {
  const double until = seconds() + 60;
  omemo_decrypted *decrypted = NULL;
  omemo_status status;
  while ((status = omemo_manager_decrypt_xml(to->account.manager, stanza->from, NULL, stanza->xml, strlen(stanza->xml),
                                             &decrypted)) != OMEMO_OK) {
    storage_failures++;
    if (!CHECK(is_storage(status)) || !CHECK(seconds() < until)) return status;
    nap(5);
  }
  status = omemo_decrypted_status(decrypted);
  const char *body = omemo_decrypted_body(decrypted);
  if (status == OMEMO_OK && strcmp(stanza->text, "-") != 0) {
    CHECK(body && strcmp(body, stanza->text) == 0);
    write_line('R', to->jid, stanza->from, stanza->text, "");
    delivered_texts++;
  }
  omemo_decrypted_free(decrypted);
  return status;
}

/* What the library sends itself it sends again, as it is, if the store has failed to note that it was sent. */
static inline bool was_delivered(const struct stanza *stanza) {
  for (size_t i = 0; i < silent.count; i++)
    if (strcmp(silent.all[i].from, stanza->from) == 0 && strcmp(silent.all[i].xml, stanza->xml) == 0) return true;
  return false;
}

/* Delivers one of what waits: the first, or any. */
static inline void deliver_one(struct member *members, size_t count, size_t at) {
  struct stanza stanza = waiting.all[at];
  memmove(&waiting.all[at], &waiting.all[at + 1], (waiting.count - at - 1) * sizeof stanza);
  waiting.count--;
  for (size_t i = 0; i < count; i++) {
    if (strcmp(members[i].jid, stanza.to) != 0) continue;
    omemo_status status = receive(&members[i], &stanza);
    bool again = status == OMEMO_ERR_DUPLICATE && was_delivered(&stanza);
    if (!CHECK(status == OMEMO_OK || again))
      printf("# %s to %s, %s: %d\n", stanza.from, stanza.to, stanza.text, (int)status);
    if (strcmp(stanza.text, "-") == 0) post_add(&silent, stanza.from, stanza.to, stanza.text, stanza.xml);
    member_run(&members[i]);
  }
  stanza_free(&stanza);
}

/* Encrypts for the partner; the stanza waits. If the store fails nothing was sent. */
static inline omemo_status say(struct member *member) {
  char text[96];
  snprintf(text, sizeof text, "%s-%u", member->jid, member->written);
  omemo_draft *draft = draft_to(member->partner->jid, text);
  omemo_op op = 0;
  omemo_status status = omemo_manager_encrypt(member->account.manager, draft, NULL, NULL, &op);
  omemo_draft_free(draft);
  if (status != OMEMO_OK) return status;
  omemo_result *result = omemo_manager_wait(member->account.manager, op, 20000);
  status = omemo_result_status(result);
  if (status == OMEMO_OK && CHECK(omemo_result_message_count(result) == 1)) {
    member->written++;
    send_off(member->jid, member->partner->jid, text, omemo_message_xml(omemo_result_message(result, 0), NULL));
  }
  omemo_result_free(result);
  return status;
}

static inline unsigned next_random(unsigned *state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

static inline PGresult *ask_server(PGconn *admin, const char *query) {
  PGresult *result = PQexec(admin, query);
  ExecStatusType status = PQresultStatus(result);
  if (!CHECK(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK))
    printf("# %s: %s\n", query, PQerrorMessage(admin));
  return result;
}

static inline void tell_server(PGconn *admin, const char *query) {
  PQclear(ask_server(admin, query));
}

/* Ends the sessions whose application has this name; how many there were. */
static inline int cut(PGconn *admin, const char *application) {
  char query[200];
  snprintf(query, sizeof query, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '%s'",
           application);
  PGresult *result = ask_server(admin, query);
  int count = PQntuples(result);
  PQclear(result);
  return count;
}

static inline omemo_status pool_as(const char *conninfo, const char *application, const char *more,
                                   postgres_pool **pool) {
  char all[600], error[200] = "";
  snprintf(all, sizeof all, "%s application_name=%s %s", conninfo, application, more);
  omemo_status status = postgres_pool_open(all, pool, error, sizeof error);
  if (status != OMEMO_OK) printf("# %s\n", error);
  return status;
}

#endif
