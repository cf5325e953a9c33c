/* A key goes from one account to another in the legacy namespace, by the names of the header alone. */
#include "world.h"

#define ROMEO "romeo@montague.example"
#define JULIET "juliet@capulet.example"

/* Whether a part has that many bytes, and came as it was sent. */
static bool came(const omemo_result *result, const omemo_decrypted *decrypted, int32_t part, size_t len) {
  size_t sent_len = 0, got_len = 0;
  const uint8_t *sent = omemo_result_key(result, 0, part, &sent_len);
  const uint8_t *got = omemo_decrypted_key(decrypted, part, &got_len);
  return sent && got && sent_len == len && got_len == len && memcmp(sent, got, len) == 0;
}

static void online(struct account *account, const char *jid) {
  memset(account, 0, sizeof *account);
  account->jid = jid;
  account_new(account);
  account_connect(account);
}

static omemo_result *transport(struct account *account, const char *jid) {
  omemo_draft *draft = omemo_draft_new();
  omemo_op op = 0;
  CHECK(omemo_draft_add_recipient(draft, jid) == OMEMO_OK);
  CHECK(omemo_draft_set_key_transport(draft) == OMEMO_OK);
  CHECK(omemo_manager_encrypt(account->manager, draft, NULL, NULL, &op) == OMEMO_OK);
  omemo_draft_free(draft);
  return omemo_manager_wait(account->manager, op, 10000);
}

static void a_key_arrives_with_its_parts(void) {
  struct account romeo, juliet;
  server_wipe();
  online(&romeo, ROMEO);
  online(&juliet, JULIET);
  omemo_result *result = transport(&romeo, JULIET);
  omemo_decrypted *decrypted = NULL;
  CHECK(omemo_result_status(result) == OMEMO_OK && omemo_result_message_count(result) == 1);
  const char *xml = omemo_message_xml(omemo_result_message(result, 0), NULL);
  CHECK(omemo_manager_decrypt_xml(juliet.manager, ROMEO, NULL, xml, strlen(xml), &decrypted) == OMEMO_OK);
  CHECK(omemo_decrypted_status(decrypted) == OMEMO_OK && omemo_decrypted_action(decrypted) == OMEMO_ACTION_HIDE);
  CHECK(came(result, decrypted, OMEMO_KEY_PART_KEY, 16));
  CHECK(came(result, decrypted, OMEMO_KEY_PART_IV, 12));
  CHECK(!omemo_result_key(result, 0, OMEMO_KEY_PART_TAG, NULL));
  CHECK(!omemo_decrypted_key(decrypted, OMEMO_KEY_PART_TAG, NULL));
  CHECK(!omemo_decrypted_plaintext(decrypted, NULL));
  omemo_decrypted_free(decrypted);
  omemo_result_free(result);
  account_free(&romeo);
  account_free(&juliet);
  server_wipe();
}

static void no_key_goes_out_in_omemo_2(void) {
  struct account romeo;
  omemo_draft *draft = omemo_draft_new();
  omemo_op op = 0;
  server_wipe();
  world_ns = OMEMO_NS_2;
  online(&romeo, ROMEO);
  CHECK(omemo_draft_add_recipient(draft, JULIET) == OMEMO_OK && omemo_draft_set_key_transport(draft) == OMEMO_OK);
  CHECK(omemo_manager_encrypt(romeo.manager, draft, NULL, NULL, &op) == OMEMO_ERR_PLAINTEXT);
  omemo_draft_free(draft);
  account_free(&romeo);
  server_wipe();
}

int main(void) {
  world_ns = OMEMO_NS_LEGACY;
  run_case("a_key_arrives_with_its_parts", a_key_arrives_with_its_parts);
  run_case("no_key_goes_out_in_omemo_2", no_key_goes_out_in_omemo_2);
  return cases_failed == 0 ? 0 : 1;
}
