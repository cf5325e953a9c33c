/* Two processes with 100 accounts each. One is killed, the other loses its connection again and again, then takes the
 * accounts of the dead one over, and reads all of both journals again. */
#ifndef POSTGRES_FLEET_H
#define POSTGRES_FLEET_H

#include "farm.h"
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

enum { ACCOUNTS = 100 };

static const char *conninfo, *directory;
static struct member all[2 * ACCOUNTS]; /* those of this process, then those that it takes over */
static struct member *const own = all, *const dead = all + ACCOUNTS;

static inline void member_name(char *name, size_t size, char fleet, size_t number) {
  snprintf(name, size, "%c%u@farm.example", fleet, (unsigned)number);
}

static inline void journal_name(char *name, size_t size, char fleet) {
  snprintf(name, size, "%s/journal.%c", directory, fleet);
}

/* Neighbours are a pair. */
static inline void fleet_init(struct member *members, char fleet) {
  for (size_t i = 0; i < ACCOUNTS; i++) {
    char name[64];
    member_name(name, sizeof name, fleet, i);
    member_init(&members[i], name, &members[i ^ 1]);
  }
}

static inline void fleet_open(struct member *members, postgres_pool *pool) {
  for (size_t i = 0; i < ACCOUNTS; i++) CHECK(member_open(&members[i], pool) == OMEMO_OK);
  for (size_t i = 0; i < ACCOUNTS; i++) account_connect(&members[i].account);
}

/* -- what the parent says to a child: a letter, to go on -- */

static inline bool told(void) {
  struct pollfd in = {STDIN_FILENO, POLLIN, 0};
  char letter;
  if (poll(&in, 1, 0) != 1) return false;
  if (read(STDIN_FILENO, &letter, 1) != 1) _exit(1); /* the parent is gone */
  return true;
}

static inline void say_to_parent(const char *what) {
  printf("%s\n", what);
  fflush(stdout);
}

/* Writes and delivers, in no order; some wait long. */
static inline void fleet_work(struct member *members, unsigned *random) {
  struct member *writer = &members[next_random(random) % ACCOUNTS];
  omemo_status status = say(writer);
  if (is_storage(status)) {
    storage_failures++;
    nap(5);
  } else {
    CHECK(status == OMEMO_OK);
  }
  while (waiting.count > 20) deliver_one(members, ACCOUNTS, next_random(random) % waiting.count);
}

static inline void drain(struct member *members, size_t count) {
  while (waiting.count > 0) deliver_one(members, count, 0);
}

/* -- the journals -- */

struct line {
  char kind;
  char a[64], b[64], text[96];
  const char *xml;
};

/* The next whole line: of one that was being written when the process died there is no end. */
static inline bool next_line(char **at, struct line *line) {
  char *end = strchr(*at, '\n');
  int used = 0;
  if (!end) return false;
  *end = '\0';
  bool good = sscanf(*at, "%c %63s %63s %95s %n", &line->kind, line->a, line->b, line->text, &used) == 4;
  line->xml = *at + used;
  *at = end + 1;
  return CHECK(good);
}

static inline char *read_file(const char *name) {
  FILE *file = fopen(name, "rb");
  char *text = NULL;
  if (!CHECK(file)) return copy("");
  fseek(file, 0, SEEK_END);
  size_t size = (size_t)ftell(file);
  rewind(file);
  text = need(malloc(size + 1));
  text[fread(text, 1, size, file)] = '\0';
  fclose(file);
  return text;
}

struct texts {
  char **all;
  size_t count;
};

static inline int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What a journal says: its stanzas, in order, its keys, and which texts were read (sorted). */
static inline void journal_read(char fleet, struct post *sent, struct texts *read, struct used_keys *keys) {
  char name[300];
  struct line line;
  journal_name(name, sizeof name, fleet);
  char *text = read_file(name), *at = text;
  while (next_line(&at, &line)) {
    if (line.kind == 'R') {
      read->all = need(realloc(read->all, (read->count + 1) * sizeof *read->all));
      read->all[read->count++] = copy(line.text);
      continue;
    }
    post_add(sent, line.a, line.b, line.text, line.xml);
    note_key(keys, line.a, line.b, line.xml);
  }
  free(text);
  if (read->count > 0) qsort(read->all, read->count, sizeof *read->all, by_text);
}

static inline void texts_free(struct texts *texts) {
  for (size_t i = 0; i < texts->count; i++) free(texts->all[i]);
  free(texts->all);
}

/* Each text is read now, or was read before. Between the commit and its line in the journal a process may have died,
 * once. */
static inline void read_again(char fleet, size_t between) {
  struct post sent = {NULL, 0};
  struct texts read = {NULL, 0};
  struct used_keys keys = {NULL, 0};
  size_t fresh = 0, known = 0, without_line = 0;
  journal_read(fleet, &sent, &read, &keys);
  for (size_t i = 0; i < sent.count; i++) {
    const struct stanza *stanza = &sent.all[i];
    size_t number = (size_t)strtoul(stanza->to + 1, NULL, 10);
    if (!CHECK(number < ACCOUNTS)) continue;
    /* What the dead process left to be sent, the survivor has sent. */
    omemo_status status = receive(stanza->to[0] == 'b' ? &own[number] : &dead[number], stanza);
    char *text = stanza->text;
    bool has_line = read.count > 0 && bsearch(&text, read.all, read.count, sizeof *read.all, by_text) != NULL;
    if (!CHECK(status == OMEMO_OK || status == OMEMO_ERR_DUPLICATE)) printf("# %s: %d\n", text, (int)status);
    if (strcmp(text, "-") == 0) continue;
    if (status == OMEMO_OK) CHECK(!has_line);
    if (status == OMEMO_ERR_DUPLICATE && !has_line) without_line++;
    *(status == OMEMO_OK ? &fresh : &known) += 1;
  }
  printf("# fleet %c: %lu stanzas; %lu texts were read before, %lu of them without a line, %lu are read now\n", fleet,
         (unsigned long)sent.count, (unsigned long)known, (unsigned long)without_line, (unsigned long)fresh);
  CHECK(without_line <= between && known > 0);
  texts_free(&read);
  post_free(&sent);
  used_twice(&keys);
}

/* -- the child that lives; the one that dies does the first half -- */

static postgres_pool *fleet_pool;

static void what_is_open_elsewhere_is_locked(void) {
  for (size_t i = 0; i < ACCOUNTS; i++) CHECK(member_open(&dead[i], fleet_pool) == OMEMO_ERR_STORAGE_LOCKED);
}

static void the_survivor_takes_over(void) {
  struct post sent = {NULL, 0};
  struct texts read = {NULL, 0};
  struct used_keys keys = {NULL, 0};
  journal_read('a', &sent, &read, &keys);
  for (size_t i = 0; i < sent.count; i++) /* may be sent again: the store had no time to note it */
    if (strcmp(sent.all[i].text, "-") == 0) post_add(&silent, sent.all[i].from, sent.all[i].to, "-", sent.all[i].xml);
  post_free(&sent);
  texts_free(&read);
  used_twice(&keys);
  /* The server has to notice that the process is gone, and the last cut may have hit a session that began. */
  const double until = seconds() + 20;
  for (size_t i = 0; i < ACCOUNTS; i++) {
    omemo_status status;
    while (is_storage(status = member_open(&dead[i], fleet_pool)) && seconds() < until) nap(20);
    if (!CHECK(status == OMEMO_OK)) printf("# %d\n", (int)status);
    dead[i].written = 1000000; /* names of texts are used once */
  }
  for (size_t i = 0; i < ACCOUNTS; i++)
    if (dead[i].account.manager) account_connect(&dead[i].account);
}

static void nothing_is_lost_and_nothing_read_twice(void) {
  drain(all, 2 * ACCOUNTS);
  read_again('b', 0);
  read_again('a', 1);
  drain(all, 2 * ACCOUNTS); /* what the library answered */
}

static void each_pair_writes_both_ways(void) {
  unsigned long before = delivered_texts;
  for (size_t i = 0; i < ACCOUNTS; i++) {
    CHECK(say(&own[i]) == OMEMO_OK);
    drain(all, 2 * ACCOUNTS);
    CHECK(say(&dead[i]) == OMEMO_OK);
    drain(all, 2 * ACCOUNTS);
  }
  CHECK(delivered_texts == before + 2 * ACCOUNTS);
}

static void no_key_is_used_twice(void) {
  struct post sent = {NULL, 0};
  struct texts read = {NULL, 0};
  struct used_keys keys = {NULL, 0};
  journal_read('a', &sent, &read, &keys);
  journal_read('b', &sent, &read, &keys);
  CHECK(keys.count == sent.count && keys.count > 2 * ACCOUNTS);
  CHECK(used_twice(&keys) == 0);
  post_free(&sent);
  texts_free(&read);
}

static inline int fleet_child(char fleet, unsigned seed) {
  char name[300], application[16];
  journal_name(name, sizeof name, fleet);
  journal = open(name, O_WRONLY | O_CREAT | O_APPEND, 0600);
  snprintf(application, sizeof application, "fleet_%c", fleet);
  if (journal < 0 || pool_as(conninfo, application, "", &fleet_pool) != OMEMO_OK) return 1;
  fleet_init(own, fleet);
  fleet_init(dead, 'a');
  fleet_open(own, fleet_pool);
  say_to_parent(case_failed ? "not ok fleet_opens" : "ready");
  while (!told()) fleet_work(own, &seed);
  if (fleet == 'a') return 0; /* is killed before */
  run_case("what_is_open_elsewhere_is_locked", what_is_open_elsewhere_is_locked);
  say_to_parent("probed");
  case_failed = false;
  while (!told()) fleet_work(own, &seed);
  printf("# %lu texts were read, %lu calls failed for the store\n", delivered_texts, storage_failures);
  say_to_parent(case_failed ? "not ok cut_connections_lose_nothing" : "ok cut_connections_lose_nothing");
  if (case_failed) cases_failed++;
  run_case("the_survivor_takes_over", the_survivor_takes_over);
  run_case("nothing_is_lost_and_nothing_read_twice", nothing_is_lost_and_nothing_read_twice);
  run_case("each_pair_writes_both_ways", each_pair_writes_both_ways);
  run_case("no_key_is_used_twice", no_key_is_used_twice);
  for (size_t i = 0; i < ACCOUNTS; i++) {
    member_close(&own[i]);
    member_close(&dead[i]);
  }
  postgres_pool_close(fleet_pool);
  post_free(&waiting);
  post_free(&silent);
  server_wipe();
  return cases_failed > 0;
}

/* -- the parent -- */

struct child {
  pid_t pid;
  int to;
  FILE *from;
};

static inline struct child child_start(const char *program, char fleet, unsigned seed) {
  int in[2], out[2];
  char letter[2] = {fleet, '\0'}, number[16];
  struct child child = {-1, -1, NULL};
  snprintf(number, sizeof number, "%u", seed);
  if (pipe(in) != 0 || pipe(out) != 0) abort();
  child.pid = fork();
  if (child.pid == 0) {
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    close(in[1]);
    close(out[0]);
    execl(program, program, "fleet", conninfo, directory, letter, number, (char *)NULL);
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  child.to = in[1];
  fcntl(child.to, F_SETFD, FD_CLOEXEC);
  fcntl(out[0], F_SETFD, FD_CLOEXEC);
  child.from = fdopen(out[0], "r");
  return child;
}

/* Shows what the child says, until this word or its end. */
static inline bool child_says(struct child *child, const char *word) {
  char line[400];
  while (fgets(line, sizeof line, child->from)) {
    line[strcspn(line, "\n")] = '\0';
    if (word && strcmp(line, word) == 0) return true;
    printf("%s\n", line);
    fflush(stdout);
  }
  return false;
}

static inline void child_tell(const struct child *child) {
  CHECK(write(child->to, "t", 1) == 1);
}

static inline int both_fleets(const char *program, unsigned seed) {
  PGconn *admin = PQconnectdb(conninfo);
  unsigned random = seed;
  int cuts = 0, code = 0;
  struct child a = child_start(program, 'a', seed), b = child_start(program, 'b', seed + 1);
  printf("# seed %u\n", seed);
  bool ready = child_says(&a, "ready") && child_says(&b, "ready");
  if (ready) {
    child_tell(&b);
    ready = child_says(&b, "probed");
  }
  /* Some seconds of work, in which one loses its connection at any moment, and the other its life. */
  const double end = seconds() + 12, death = seconds() + 4 + next_random(&random) % 4000 / 1000.0;
  bool alive = true;
  while (ready && seconds() < end) {
    nap((int)(next_random(&random) % 500));
    cuts += cut(admin, "fleet_b");
    if (!alive || seconds() < death) continue;
    CHECK(kill(a.pid, SIGKILL) == 0);
    alive = false;
  }
  if (alive) kill(a.pid, SIGKILL);
  waitpid(a.pid, NULL, 0);
  child_tell(&b);
  child_says(&b, NULL);
  waitpid(b.pid, &code, 0);
  printf("# %d cuts\n", cuts);
  PQfinish(admin);
  fclose(a.from);
  fclose(b.from);
  CHECK(ready && cuts >= 10 && WIFEXITED(code) && WEXITSTATUS(code) == 0);
  printf("%s two_processes\n", case_failed ? "not ok" : "ok");
  return case_failed;
}

#endif
