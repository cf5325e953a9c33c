/* Managers in many threads (7 of the contract). */
#include "contract.h"

static struct account pair[2];
static omemo_request mailbox[2][32]; /* questions that the other thread answers */

static void post(struct account *account) {
  size_t mine = account == &pair[0] ? 0 : 1;
  pthread_mutex_lock(&world);
  struct question *last = &account->open[account->open_count - 1];
  if (last->kind == FETCH_LIST && strncmp(last->jid, "m", 1) == 0) {
    for (size_t i = 0; i < 32; i++)
      if (mailbox[1 - mine][i] == 0) {
        mailbox[1 - mine][i] = last->request;
        break;
      }
  }
  pthread_mutex_unlock(&world);
}

static struct end end_of[2];
static unsigned started_of[2];

static void *live(void *data) {
  size_t mine = *(const size_t *)data;
  for (unsigned i = 0; i < 300; i++) {
    char jid[64];
    omemo_op op = 0;
    snprintf(jid, sizeof jid, "m%u@verona.example", i % 10);
    if (CHECK(encrypt(&pair[mine], jid, on_done, &end_of[mine], &op) == OMEMO_OK)) started_of[mine]++;
    CHECK(omemo_manager_run(pair[mine].manager) == OMEMO_OK);
    if (i % 9 == 0) omemo_op_cancel(op);
    for (size_t j = 0; j < 32; j++) {
      pthread_mutex_lock(&world);
      omemo_request request = mailbox[mine][j];
      mailbox[mine][j] = 0;
      pthread_mutex_unlock(&world);
      if (request) omemo_request_reject(request, OMEMO_REJECT_NOT_FOUND);
    }
    if (i % 50 == 0) CHECK(take(omemo_manager_wait(pair[mine].manager, op, 1)) != OMEMO_ERR_NULL);
  }
  omemo_manager_free(pair[mine].manager); /* if the other thread is answering into it, that one ends it */
  return NULL;
}

static void two_managers_answer_into_each_other(void) {
  static const size_t numbers[2] = {0, 1};
  pthread_t threads[2];
  for (size_t i = 0; i < 2; i++) {
    start_connected(&pair[i], i ? JULIET : ROMEO);
    pair[i].in_question = post;
    memset(&end_of[i], 0, sizeof end_of[i]);
    started_of[i] = 0;
  }
  for (size_t i = 0; i < 2; i++) {
    void *number = (void *)(uintptr_t)&numbers[i];
    CHECK(pthread_create(&threads[i], NULL, live, number) == 0);
  }
  for (size_t i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  for (size_t i = 0; i < 2; i++) {
    CHECK(pair[i].destroyed == 1);
    CHECK(started_of[i] > 0 && end_of[i].calls == started_of[i]);
    free(end_of[i].xml);
    forget_open(&pair[i]);
    free(pair[i].sent_to);
    free(pair[i].sent_xml);
  }
}

static void *use_it(void *data) {
  struct account *account = data;
  for (unsigned i = 0; i < 100; i++) {
    omemo_op op = 0;
    omemo_devices *devices = NULL;
    omemo_decrypted *decrypted = NULL;
    CHECK(encrypt(account, NOBODY, NULL, NULL, &op) == OMEMO_OK);
    CHECK(omemo_manager_devices(account->manager, NULL, &devices) == OMEMO_OK);
    CHECK(omemo_manager_decrypt_xml(account->manager, NOBODY, NULL, "<", 1, &decrypted) == OMEMO_OK);
    omemo_decrypted_free(decrypted);
    omemo_devices_free(devices);
    omemo_status status = omemo_manager_run(account->manager);
    CHECK(status == OMEMO_OK || status == OMEMO_ERR_BUSY);
    status = take(omemo_manager_wait(account->manager, op, 10000));
    CHECK(status != OMEMO_ERR_PENDING && status != OMEMO_ERR_STALE && status != OMEMO_ERR_BUSY);
  }
  return NULL;
}

static void one_manager_serves_many_threads(void) {
  struct account romeo;
  pthread_t threads[4];
  start_connected(&romeo, ROMEO);
  romeo.later = false;
  for (size_t i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, use_it, &romeo) == 0);
  for (size_t i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  account_free(&romeo);
}

unsigned contract_threads(void) {
  RUN(two_managers_answer_into_each_other);
  RUN(one_manager_serves_many_threads);
  server_wipe();
  return cases_failed;
}
