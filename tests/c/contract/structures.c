/* Tables, builders, options and stores (10 and 11 of the contract). */
#include "contract.h"

static void tables_of_other_headers(void) {
  struct account romeo = {0};
  struct {
    omemo_callbacks known;
    void (*unknown)(void);
  } newer;
  romeo.jid = ROMEO;
  const size_t least = offsetof(omemo_callbacks, request_withdrawn);
  omemo_callbacks callbacks = account_callbacks(&romeo);
  static const size_t wrong[] = {0, 1, sizeof(size_t), SIZE_MAX};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    omemo_config *config = omemo_config_new();
    callbacks.struct_size = wrong[i];
    CHECK(omemo_config_set_callbacks(config, &callbacks, &romeo, on_destroy) == OMEMO_ERR_ARGUMENT);
    omemo_config_free(config);
    CHECK(romeo.destroyed == 0); /* the call that takes the table failed */
  }
  for (size_t size = least; size <= sizeof callbacks; size += sizeof callbacks.request_withdrawn) {
    omemo_config *config = omemo_config_new();
    omemo_callbacks *shorter = need(malloc(size)); /* what is behind it must not be read */
    callbacks.struct_size = size;
    memcpy(shorter, &callbacks, size);
    romeo.destroyed = 0;
    CHECK(omemo_config_set_callbacks(config, shorter, &romeo, on_destroy) == OMEMO_OK);
    CHECK(omemo_config_set_callbacks(config, shorter, &romeo, on_destroy) == OMEMO_ERR_ARGUMENT); /* twice */
    omemo_config_free(config);
    free(shorter);
    CHECK(romeo.destroyed == 1);
  }
  for (int known = 0; known < 2; known++) {
    omemo_config *config = omemo_config_new();
    memset(&newer, 0, sizeof newer);
    newer.known = account_callbacks(&romeo);
    newer.known.struct_size = sizeof newer;
    if (!known) newer.unknown = server_wipe;
    omemo_status status = omemo_config_set_callbacks(config, &newer.known, &romeo, NULL);
    CHECK(status == (known ? OMEMO_OK : OMEMO_ERR_ARGUMENT));
    omemo_config_free(config);
  }
}

static void builders_keep_their_first_failure(void) {
  struct account romeo = {0};
  omemo_manager *manager = NULL;
  romeo.jid = ROMEO;
  omemo_config *config = omemo_config_new();
  CHECK(strcmp(omemo_config_error(config), "") == 0);
  CHECK(omemo_manager_new(config, &manager) == OMEMO_ERR_ARGUMENT && strcmp(omemo_config_error(config), "") != 0);
  omemo_config_free(config);
  config = account_config(&romeo);
  CHECK(omemo_config_set_option(config, 12345, 1) == OMEMO_ERR_ARGUMENT);
  CHECK(omemo_config_set_jid(config, "a/b") == OMEMO_ERR_JID);
  CHECK(omemo_config_set_jid(config, ROMEO) == OMEMO_OK); /* is judged by itself */
  CHECK(omemo_manager_new(config, &manager) == OMEMO_ERR_ARGUMENT && strcmp(omemo_config_error(config), "") != 0);
  CHECK(manager == NULL);
  omemo_config_free(config);
  CHECK(romeo.destroyed == 1);
}

static void options_have_bounds(void) {
  static const struct {
    int32_t option;
    uint64_t least, most;
  } options[] = {
      {OMEMO_OPTION_REQUEST_TIMEOUT_MS, 1000, 3600000},
      {OMEMO_OPTION_MAX_OPEN_FETCHES, 1, 1000},
      {OMEMO_OPTION_SKIPPED_PER_SESSION, 0, 2000},
      {OMEMO_OPTION_SKIPPED_PER_MESSAGE, 0, 2000},
      {OMEMO_OPTION_HEALING, 0, 1},
      {OMEMO_OPTION_MAX_UNANSWERED_MESSAGES, 0, 1000000},
      {OMEMO_OPTION_SIGNED_PRE_KEY_PERIOD_S, 86400, 2419200},
      {OMEMO_OPTION_PRE_KEY_THRESHOLD, 25, 99},
      {OMEMO_OPTION_TRUST_POLICY, OMEMO_TRUST_POLICY_ASK, OMEMO_TRUST_POLICY_BTBV},
      {OMEMO_OPTION_MARK_START, 0, 1},
      {OMEMO_OPTION_ACKNOWLEDGE, 0, 1},
  };
  omemo_config *config = omemo_config_new();
  for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
    CHECK(omemo_config_set_option(config, options[i].option, options[i].least) == OMEMO_OK);
    CHECK(omemo_config_set_option(config, options[i].option, options[i].most) == OMEMO_OK);
    CHECK(omemo_config_set_option(config, options[i].option, options[i].most + 1) == OMEMO_ERR_ARGUMENT);
    CHECK(omemo_config_set_option(config, options[i].option, UINT64_MAX) == OMEMO_ERR_ARGUMENT);
    if (options[i].least > 0)
      CHECK(omemo_config_set_option(config, options[i].option, options[i].least - 1) == OMEMO_ERR_ARGUMENT);
  }
  omemo_config_free(config);
  /* One message cannot skip more than a session keeps. */
  struct account romeo = {0};
  omemo_manager *manager = NULL;
  romeo.jid = ROMEO;
  config = account_config(&romeo);
  CHECK(omemo_config_set_option(config, OMEMO_OPTION_SKIPPED_PER_SESSION, 10) == OMEMO_OK);
  CHECK(omemo_config_set_option(config, OMEMO_OPTION_SKIPPED_PER_MESSAGE, 11) == OMEMO_OK);
  CHECK(omemo_manager_new(config, &manager) == OMEMO_ERR_ARGUMENT);
  omemo_config_free(config);
  /* This account has an evaluate_trust. */
  config = account_config(&romeo);
  CHECK(omemo_config_set_option(config, OMEMO_OPTION_TRUST_POLICY, OMEMO_TRUST_POLICY_TOFU) == OMEMO_OK);
  CHECK(omemo_manager_new(config, &manager) == OMEMO_ERR_ARGUMENT && manager == NULL);
  CHECK(strstr(omemo_config_error(config), "evaluate_trust") != NULL);
  omemo_config_free(config);
}

static void a_store_is_open_once(void) {
  struct account romeo = {0};
  omemo_manager *second = NULL;
  romeo.jid = ROMEO;
  omemo_config *config = account_config(&romeo);
  CHECK(omemo_manager_new(config, &romeo.manager) == OMEMO_OK);
  CHECK(omemo_manager_new(config, &second) == OMEMO_ERR_STORAGE_LOCKED && second == NULL);
  omemo_manager_free(romeo.manager);
  CHECK(omemo_manager_new(config, &romeo.manager) == OMEMO_OK);
  omemo_config_free(config);
  account_free(&romeo);
}

static void a_store_that_fails(void) {
  struct store store = {0};
  struct account romeo = {0};
  omemo_manager *manager = NULL;
  store.account = &romeo;
  store.fail = OMEMO_ERR_STORAGE;
  romeo.jid = ROMEO;
  romeo.storage = store_open(&store);
  omemo_config *config = account_config(&romeo);
  CHECK(omemo_manager_new(config, &manager) == OMEMO_ERR_STORAGE && manager == NULL);
  store.fail = 42; /* no status of ours */
  CHECK(omemo_manager_new(config, &manager) == OMEMO_ERR_STORAGE && manager == NULL);
  store.fail = OMEMO_OK;
  CHECK(omemo_manager_new(config, &romeo.manager) == OMEMO_OK);
  omemo_config_free(config);
  omemo_storage_free(romeo.storage);
  account_connect(&romeo);
  account_free(&romeo);
  CHECK(store.destroyed == 1);
  store_wipe(&store);
}

unsigned contract_structures(void) {
  RUN(tables_of_other_headers);
  RUN(builders_keep_their_first_failure);
  RUN(options_have_bounds);
  RUN(a_store_is_open_once);
  RUN(a_store_that_fails);
  server_wipe();
  return cases_failed;
}
