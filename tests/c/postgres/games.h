/* One process: locks, zombies, commits whose end nobody saw, servers that must be refused, large commits. */
#ifndef POSTGRES_GAMES_H
#define POSTGRES_GAMES_H

#include "fleet.h"

static inline omemo_status label(struct member *member, const char *text) {
  return omemo_manager_set_label(member->account.manager, text, NULL, NULL, NULL);
}

/* Opens and connects; a session that ends may have its lock for a moment. */
static inline bool member_start(struct member *member, const char *jid, postgres_pool *pool) {
  const double until = seconds() + 10;
  omemo_status status;
  member_init(member, jid, NULL);
  while ((status = member_open(member, pool)) == OMEMO_ERR_STORAGE_LOCKED && seconds() < until) nap(20);
  if (!CHECK(status == OMEMO_OK)) return false;
  account_connect(&member->account);
  return true;
}

/* Changes the configuration of the server. */
static inline void configure(PGconn *admin, const char *how) {
  tell_server(admin, how);
  tell_server(admin, "SELECT pg_reload_conf()");
  nap(500);
}

static void one_user_at_a_time(void) {
  postgres_pool *first = NULL, *second = NULL;
  omemo_storage *storage = NULL, *other = NULL;
  if (!CHECK(pool_as(conninfo, "first", "", &first) == OMEMO_OK)) return;
  if (!CHECK(pool_as(conninfo, "second", "", &second) == OMEMO_OK)) return;
  CHECK(postgres_store_open(first, "one", &storage) == OMEMO_OK);
  CHECK(postgres_store_open(first, "one", &other) == OMEMO_ERR_STORAGE_LOCKED);
  CHECK(postgres_store_open(second, "one", &other) == OMEMO_ERR_STORAGE_LOCKED);
  CHECK(!other);
  postgres_pool_close(first); /* a store keeps it open */
  omemo_storage_free(storage);
  CHECK(postgres_store_open(second, "one", &other) == OMEMO_OK);
  omemo_storage_free(other);
  postgres_pool_close(second);
}

/* Two that write with the same keys, if nothing keeps them from opening one account: the control is built without
 * locks. */
static void two_writers_use_no_key_twice(void) {
  postgres_pool *first = NULL, *second = NULL;
  struct member juliet, romeo[2];
  if (!CHECK(pool_as(conninfo, "first", "", &first) == OMEMO_OK)) return;
  if (!CHECK(pool_as(conninfo, "second", "", &second) == OMEMO_OK)) return;
  member_init(&juliet, "juliet@capulet.example", NULL);
  account_new(&juliet.account);
  account_connect(&juliet.account);
  CHECK(member_start(&romeo[0], "romeo@montague.example", first));
  romeo[0].partner = &juliet;
  CHECK(say(&romeo[0]) == OMEMO_OK);
  member_init(&romeo[1], "romeo@montague.example", &juliet);
  omemo_status status = member_open(&romeo[1], second);
  CHECK(status == OMEMO_ERR_STORAGE_LOCKED);
  if (status == OMEMO_OK) account_connect(&romeo[1].account);
  romeo[1].written = 100;
  for (int i = 0; i < 6; i++)
    if (romeo[i % 2].account.manager) say(&romeo[i % 2]);
  struct used_keys keys = {NULL, 0};
  for (size_t i = 0; i < waiting.count; i++)
    if (strcmp(waiting.all[i].from, romeo[0].jid) == 0)
      note_key(&keys, waiting.all[i].from, waiting.all[i].to, waiting.all[i].xml);
  CHECK(keys.count >= 4);
  size_t twice = used_twice(&keys);
  printf("# keys used twice: %lu\n", (unsigned long)twice);
  CHECK(twice == 0);
  post_free(&waiting);
  member_close(&romeo[0]);
  member_close(&romeo[1]);
  member_close(&juliet);
  postgres_pool_close(first);
  postgres_pool_close(second);
  server_wipe();
}

/* One whose session was ended, and whose account somebody else has, or has had, never commits again. */
static void a_zombie_never_commits(void) {
  PGconn *admin = PQconnectdb(conninfo);
  postgres_pool *first = NULL, *second = NULL;
  struct member zombie, heir;
  if (!CHECK(pool_as(conninfo, "first", "", &first) == OMEMO_OK)) return;
  if (!CHECK(pool_as(conninfo, "second", "", &second) == OMEMO_OK)) return;
  CHECK(member_start(&zombie, "zombie@farm.example", first));
  CHECK(label(&zombie, "alive") == OMEMO_OK);
  CHECK(cut(admin, "first") == 1);
  const double until = seconds() + 10; /* the old session may have the lock for a moment */
  omemo_status status;
  while (is_storage(status = label(&zombie, "cut, and nobody took over")) && seconds() < until) nap(20);
  CHECK(status == OMEMO_OK);
  CHECK(cut(admin, "first") == 1);
  if (CHECK(member_start(&heir, "zombie@farm.example", second))) {
    CHECK(label(&zombie, "the heir has the lock") == OMEMO_ERR_STORAGE_LOCKED);
    CHECK(label(&heir, "heir") == OMEMO_OK);
    CHECK(label(&zombie, "the heir has committed") == OMEMO_ERR_STORAGE_LOCKED);
    member_close(&heir);
  }
  for (int i = 0; i < 3; i++) CHECK(label(&zombie, "the heir is gone") == OMEMO_ERR_STORAGE_LOCKED);
  CHECK(member_start(&heir, "zombie@farm.example", second)); /* the zombie has not the lock, either */
  member_close(&heir);
  member_close(&zombie);
  postgres_pool_close(first);
  postgres_pool_close(second);
  PQfinish(admin);
  post_free(&waiting);
  server_wipe();
}

struct cutter {
  PGconn *admin;
  bool crash; /* the process of the session is killed, and the server begins anew */
};

/* Ends the session `first` when it stands in COMMIT. */
static void *cut_in_commit(void *user_data) {
  const struct cutter *cutter = user_data;
  const double until = seconds() + 10;
  int pid = 0;
  while (pid == 0 && seconds() < until) {
    PGresult *result = ask_server(cutter->admin, "SELECT pid FROM pg_stat_activity WHERE application_name = 'first' "
                                                 "AND query = 'COMMIT' AND state = 'active'");
    if (PQntuples(result) == 1) pid = atoi(PQgetvalue(result, 0, 0));
    PQclear(result);
    nap(5);
  }
  if (!CHECK(pid > 0)) return NULL;
  nap(300);
  if (cutter->crash) CHECK(kill(pid, SIGKILL) == 0);
  else CHECK(cut(cutter->admin, "first") == 1);
  return NULL;
}

static inline omemo_status label_cut_in_commit(struct member *member, const char *text, struct cutter cutter) {
  pthread_t thread;
  pthread_create(&thread, NULL, cut_in_commit, &cutter);
  omemo_status status = label(member, text);
  pthread_join(thread, NULL);
  return status;
}

static inline bool label_is(const struct member *member, const char *text) {
  omemo_devices *devices = NULL;
  bool same = false;
  if (omemo_manager_devices(member->account.manager, NULL, &devices) == OMEMO_OK) {
    const char *found = omemo_devices_label(devices, 0);
    same = found && strcmp(found, text) == 0;
  }
  omemo_devices_free(devices);
  return same;
}

static void a_commit_whose_end_nobody_saw(void) {
  static const char standby[] = "ALTER SYSTEM SET synchronous_standby_names = 'nobody'";
  static const char none[] = "ALTER SYSTEM RESET synchronous_standby_names";
  PGconn *admin = PQconnectdb(conninfo);
  postgres_pool *pool = NULL;
  struct member member;
  if (!CHECK(pool_as(conninfo, "first", "", &pool) == OMEMO_OK)) return;
  CHECK(member_start(&member, "doubt@farm.example", pool));
  /* It did not happen: what the trigger does at COMMIT is cut off. */
  tell_server(admin, "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
                     "$$ BEGIN PERFORM pg_sleep(20); RETURN NULL; END $$");
  tell_server(admin, "CREATE CONSTRAINT TRIGGER wait AFTER UPDATE ON omemo_account DEFERRABLE INITIALLY DEFERRED "
                     "FOR EACH ROW EXECUTE FUNCTION wait()");
  CHECK(label_cut_in_commit(&member, "not", (struct cutter){admin, false}) == OMEMO_ERR_STORAGE);
  tell_server(admin, "DROP TRIGGER wait ON omemo_account");
  tell_server(admin, "DROP FUNCTION wait");
  CHECK(label(&member, "after the first") == OMEMO_OK);
  /* It happened here, and the server says that no standby has it: a failure, and the store goes on with what is there.
   */
  configure(admin, standby);
  CHECK(label_cut_in_commit(&member, "warned", (struct cutter){admin, false}) == OMEMO_ERR_STORAGE);
  configure(admin, none);
  CHECK(label_is(&member, "warned"));
  CHECK(label(&member, "after the second") == OMEMO_OK);
  /* It happened, and the server crashed before it could say so: the store finds that out, and the call succeeds. */
  configure(admin, standby);
  CHECK(label_cut_in_commit(&member, "happened", (struct cutter){admin, true}) == OMEMO_OK);
  CHECK(label_is(&member, "happened"));
  PQreset(admin);
  configure(admin, none);
  CHECK(label(&member, "after the third") == OMEMO_OK);
  member_close(&member);
  postgres_pool_close(pool);
  PQfinish(admin);
  post_free(&waiting);
  server_wipe();
}

static void a_commit_that_fails_changes_nothing(void) {
  PGconn *admin = PQconnectdb(conninfo);
  postgres_pool *pool = NULL;
  struct member member;
  char error[200];
  if (!CHECK(pool_as(conninfo, "first", "", &pool) == OMEMO_OK)) return;
  CHECK(member_start(&member, "fails@farm.example", pool));
  CHECK(label(&member, "before") == OMEMO_OK);
  tell_server(admin, "ALTER TABLE omemo_record ADD CONSTRAINT broken CHECK (key <> 'v1/account') NOT VALID");
  CHECK(label(&member, "during") == OMEMO_ERR_STORAGE);
  postgres_pool_error(pool, error, sizeof error);
  CHECK(strcmp(error, "writing failed with SQLSTATE 23514") == 0);
  tell_server(admin, "ALTER TABLE omemo_record DROP CONSTRAINT broken");
  CHECK(label_is(&member, "before"));
  CHECK(label(&member, "after") == OMEMO_OK && label_is(&member, "after"));
  member_close(&member);
  postgres_pool_close(pool);
  PQfinish(admin);
  post_free(&waiting);
  server_wipe();
}

/* A server that may forget what it confirms; and no connection: neither name nor password is told. */
static void what_cannot_be_trusted_is_refused(void) {
  postgres_pool *pool = NULL;
  char error[200] = "";
  static const char *const levels[] = {"off", "local", "remote_write"};
  for (size_t i = 0; i < 3; i++) {
    char more[100];
    snprintf(more, sizeof more, "options='-c synchronous_commit=%s'", levels[i]);
    CHECK(pool_as(conninfo, "off", more, &pool) == OMEMO_ERR_STORAGE && !pool);
  }
  CHECK(pool_as(conninfo, "on", "options='-c synchronous_commit=remote_apply'", &pool) == OMEMO_OK);
  postgres_pool_close(pool);
  pool = NULL;
  PGconn *admin = PQconnectdb(conninfo);
  configure(admin, "ALTER SYSTEM SET fsync = off");
  CHECK(pool_as(conninfo, "off", "", &pool) == OMEMO_ERR_STORAGE && !pool);
  configure(admin, "ALTER SYSTEM RESET fsync");
  PQfinish(admin);
  CHECK(postgres_pool_open("host=127.0.0.1 port=1 user=nobody password=sesame", &pool, error, sizeof error) ==
        OMEMO_ERR_STORAGE);
  CHECK(strcmp(error, "connecting failed") == 0);
  CHECK(postgres_pool_open("password sesame", &pool, error, sizeof error) == OMEMO_ERR_STORAGE && !pool);
  CHECK(strcmp(error, "connecting failed") == 0);
}

/* One message for 60 accounts: one commit, in several batches, read back by a second manager. */
static void a_large_commit(void) {
  enum { MANY = 60 };
  static struct member many[MANY], writer;
  postgres_pool *pool = NULL;
  omemo_op op = 0;
  if (!CHECK(pool_as(conninfo, "first", "", &pool) == OMEMO_OK)) return;
  CHECK(member_start(&writer, "writer@farm.example", pool));
  for (int round = 0; round < 2; round++) {
    omemo_draft *draft = draft_to("m0@farm.example", "to all");
    for (size_t i = 0; i < MANY; i++) {
      char name[64];
      member_name(name, sizeof name, 'm', i);
      if (round == 0) {
        member_init(&many[i], name, &writer);
        account_new(&many[i].account);
        account_connect(&many[i].account);
      }
      if (i > 0) omemo_draft_add_recipient(draft, name);
    }
    CHECK(omemo_manager_encrypt(writer.account.manager, draft, NULL, NULL, &op) == OMEMO_OK);
    omemo_draft_free(draft);
    omemo_result *result = omemo_manager_wait(writer.account.manager, op, 20000);
    CHECK(omemo_result_status(result) == OMEMO_OK);
    for (size_t j = 0; j < omemo_result_message_count(result); j++)
      for (size_t i = 0; i < MANY; i++) {
        const char *xml = omemo_message_xml(omemo_result_message(result, j), NULL);
        struct stanza stanza = {writer.jid, many[i].jid, (char *)"to all", copy(xml)};
        CHECK(receive(&many[i], &stanza) == OMEMO_OK);
        free(stanza.xml);
      }
    omemo_result_free(result);
    if (round == 0) {
      member_close(&writer);
      CHECK(member_start(&writer, "writer@farm.example", pool));
    }
  }
  for (size_t i = 0; i < MANY; i++) member_close(&many[i]);
  member_close(&writer);
  postgres_pool_close(pool);
  post_free(&waiting);
  server_wipe();
}

#endif
