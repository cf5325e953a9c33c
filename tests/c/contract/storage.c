/* The store in a file: an account outlives its manager and its process in it, nobody else gets in, and a failure says
 * why in the words of SQLite. */
#include "contract.h"

#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64], path[96], log_path[128];

/* A directory of its own for a case. */
static void enter(void) {
  snprintf(directory, sizeof directory, "/tmp/omemo-contract-XXXXXX");
  if (!mkdtemp(directory)) abort();
  snprintf(path, sizeof path, "%s/store", directory);
  snprintf(log_path, sizeof log_path, "%s-wal", path);
}

static void leave(void) {
  unlink(log_path);
  unlink(path);
  CHECK(rmdir(directory) == 0); /* nothing else was left */
}

static omemo_storage *open_file(void) {
  omemo_storage *storage = NULL;
  CHECK(omemo_storage_sqlite_open(path, &storage) == OMEMO_OK);
  CHECK(strcmp(omemo_storage_error(storage), "") == 0);
  return storage;
}

/* How opening fails. The store that is given instead is freed. */
static omemo_status refused(const char *file) {
  omemo_storage *storage = NULL;
  omemo_status status = omemo_storage_sqlite_open(file, &storage);
  CHECK((status == OMEMO_OK) == (strcmp(omemo_storage_error(storage), "") == 0));
  omemo_storage_free(storage);
  return status;
}

/* Starts an account in the file. The handle of the store is let go of at once. */
static void start_in_file(struct account *account) {
  memset(account, 0, sizeof *account);
  account->jid = ROMEO;
  account->storage = open_file();
  account_new(account);
  omemo_storage_free(account->storage);
  account->storage = NULL;
}

static uint32_t own_device(const struct account *account) {
  omemo_devices *devices = NULL;
  CHECK(omemo_manager_devices(account->manager, NULL, &devices) == OMEMO_OK);
  uint32_t id = omemo_devices_id(devices, 0);
  omemo_devices_free(devices);
  return id;
}

static void an_account_outlives_its_manager_in_a_file(void) {
  struct account romeo;
  enter();
  start_in_file(&romeo);
  account_connect(&romeo);
  uint32_t id = own_device(&romeo);
  account_free(&romeo);
  start_in_file(&romeo);
  CHECK(id != 0 && own_device(&romeo) == id);
  account_free(&romeo);
  leave();
}

static void a_file_is_open_once(void) {
  struct account romeo;
  enter();
  omemo_storage *storage = open_file();
  CHECK(refused(path) == OMEMO_ERR_STORAGE_LOCKED);
  omemo_storage_free(storage);
  start_in_file(&romeo); /* the manager keeps it open */
  CHECK(refused(path) == OMEMO_ERR_STORAGE_LOCKED);
  account_free(&romeo);
  CHECK(refused(path) == OMEMO_OK);
  leave();
}

/* Forks; returns what body returned in the child, which never ends by itself: checkers of memory would look for leaks
 * in it. */
static int in_a_child(int (*body)(void *), void *argument) {
  int ends[2], status = 0, code = 0;
  fflush(stdout);
  if (!CHECK(pipe(ends) == 0)) return INT_MIN;
  pid_t child = fork();
  if (child == 0) {
    code = body(argument);
    if (write(ends[1], &code, sizeof code) < 0) code = INT_MIN;
    kill(getpid(), SIGKILL);
  }
  close(ends[1]);
  CHECK(read(ends[0], &code, sizeof code) == (ssize_t)sizeof code);
  close(ends[0]);
  CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  return code;
}

static int try_to_open(void *nothing) {
  (void)nothing;
  omemo_storage *storage = NULL;
  return -omemo_storage_sqlite_open(path, &storage);
}

static int open_and_keep_open(void *nothing) {
  (void)nothing;
  struct account romeo;
  start_in_file(&romeo);
  account_connect(&romeo);
  return 0;
}

/* Something that makes a commit. */
static int trust_somebody(void *manager) {
  uint8_t key[32];
  memset(key, 0x66, sizeof key); /* the base point */
  key[0] = 0x58;
  return -omemo_manager_set_trust(manager, JULIET, key, sizeof key, OMEMO_TRUST_LEVEL_NAME_TRUSTED);
}

static void another_process_is_told_at_once(void) {
  struct account romeo;
  enter();
  start_in_file(&romeo);
  account_connect(&romeo);
  CHECK(in_a_child(try_to_open, NULL) == -OMEMO_ERR_STORAGE_LOCKED);
  /* A copy of this process has the same manager, but not the file. */
  CHECK(in_a_child(trust_somebody, romeo.manager) == -OMEMO_ERR_STORAGE_LOCKED);
  CHECK(trust_somebody(romeo.manager) == 0);
  account_free(&romeo);
  CHECK(in_a_child(try_to_open, NULL) == 0);
  leave();
}

static void a_process_that_crashed_blocks_nobody(void) {
  struct account romeo;
  enter();
  for (int i = 0; i < 3; i++) {
    CHECK(in_a_child(open_and_keep_open, NULL) == 0);
    start_in_file(&romeo);
    CHECK(own_device(&romeo) != 0); /* what it had committed is there */
    account_free(&romeo);
  }
  leave();
}

static mode_t mode_of(const char *file) {
  struct stat entry;
  CHECK(stat(file, &entry) == 0);
  return entry.st_mode & 0777;
}

static void nobody_else_may_read_the_file(void) {
  struct account romeo;
  mode_t before = umask(0);
  enter();
  start_in_file(&romeo);
  account_connect(&romeo);
  CHECK(mode_of(path) == 0600 && mode_of(log_path) == 0600);
  account_free(&romeo);
  umask(before);
  leave();
}

/* The status of opening is that of the manager, too, and so is the reason. */
static void a_store_that_is_none_tells_why(void) {
  struct account romeo = {0};
  omemo_storage *storage = NULL;
  omemo_manager *manager = NULL;
  romeo.jid = ROMEO;
  CHECK(omemo_storage_sqlite_open("/nonexistent/romeo@montague.example", &storage) == OMEMO_ERR_STORAGE);
  CHECK(strstr(omemo_storage_error(storage), "unable to open database file") != NULL);
  CHECK(strstr(omemo_storage_error(storage), "romeo") == NULL); /* a path may name a person */
  romeo.storage = storage;
  omemo_config *config = account_config(&romeo);
  CHECK(omemo_manager_new(config, &manager) == OMEMO_ERR_STORAGE && manager == NULL);
  CHECK(strcmp(omemo_config_error(config), omemo_storage_error(storage)) == 0);
  CHECK(strstr(romeo.line, "SQLITE_CANTOPEN") != NULL); /* its name goes to the log, its words do not */
  CHECK(strstr(romeo.line, "unable") == NULL);
  omemo_config_free(config);
  omemo_storage_free(storage);
  CHECK(strcmp(omemo_storage_error(NULL), "") == 0);
}

static void what_is_no_store_is_left_alone(void) {
  char read_back[64] = "";
  enter();
  FILE *file = fopen(path, "w");
  CHECK(file && fputs("Two households, both alike in dignity", file) >= 0 && fclose(file) == 0);
  CHECK(refused(path) == OMEMO_ERR_STORAGE_CORRUPT);
  file = fopen(path, "r");
  CHECK(file && fgets(read_back, sizeof read_back, file) && fclose(file) == 0);
  CHECK(strcmp(read_back, "Two households, both alike in dignity") == 0);
  CHECK(refused(directory) == OMEMO_ERR_STORAGE && refused("") == OMEMO_ERR_STORAGE);
  leave();
}

unsigned contract_storage(void) {
  RUN(an_account_outlives_its_manager_in_a_file);
  RUN(a_file_is_open_once);
  RUN(another_process_is_told_at_once);
  RUN(a_process_that_crashed_blocks_nobody);
  RUN(nobody_else_may_read_the_file);
  RUN(a_store_that_is_none_tells_why);
  RUN(what_is_no_store_is_left_alone);
  return cases_failed;
}
