/* The functions of the header: a table of them all, and their declarations as the header has them, read at run time. */
#ifndef FUNCTIONS_H
#define FUNCTIONS_H

#include "world.h"

typedef void any_function(void);

#define F(name)                                                                                                        \
  { #name, (any_function *)name }
static const struct {
  const char *name;
  any_function *function;
} functions[] = {
    F(omemo_bundle_append_pre_key),
    F(omemo_bundle_free),
    F(omemo_bundle_identity_key),
    F(omemo_bundle_namespace),
    F(omemo_bundle_new),
    F(omemo_bundle_parse),
    F(omemo_bundle_pre_key),
    F(omemo_bundle_pre_key_count),
    F(omemo_bundle_signature),
    F(omemo_bundle_signed_pre_key),
    F(omemo_bundle_wire_identity_key),
    F(omemo_bundle_wire_signature),
    F(omemo_bundle_xml),
    F(omemo_config_error),
    F(omemo_config_free),
    F(omemo_config_new),
    F(omemo_config_set_callbacks),
    F(omemo_config_set_default_trust_level_name),
    F(omemo_config_set_jid),
    F(omemo_config_set_log),
    F(omemo_config_set_namespaces),
    F(omemo_config_set_option),
    F(omemo_config_set_storage),
    F(omemo_decrypted_action),
    F(omemo_decrypted_body),
    F(omemo_decrypted_device),
    F(omemo_decrypted_flags),
    F(omemo_decrypted_free),
    F(omemo_decrypted_from),
    F(omemo_decrypted_identity_key),
    F(omemo_decrypted_key),
    F(omemo_decrypted_trust_level_name),
    F(omemo_decrypted_namespace),
    F(omemo_decrypted_plaintext),
    F(omemo_decrypted_provisional),
    F(omemo_decrypted_receipt),
    F(omemo_decrypted_room),
    F(omemo_decrypted_status),
    F(omemo_decrypted_detail),
    F(omemo_decrypted_core_trust),
    F(omemo_device_list_add),
    F(omemo_device_list_count),
    F(omemo_device_list_free),
    F(omemo_device_list_gone),
    F(omemo_device_list_id),
    F(omemo_device_list_is_delayed),
    F(omemo_device_list_label),
    F(omemo_device_list_label_signature),
    F(omemo_device_list_namespace),
    F(omemo_device_list_new),
    F(omemo_device_list_other_xml),
    F(omemo_device_list_parse),
    F(omemo_device_list_xml),
    F(omemo_devices_active),
    F(omemo_devices_clone),
    F(omemo_devices_count),
    F(omemo_devices_fingerprint),
    F(omemo_devices_free),
    F(omemo_devices_id),
    F(omemo_devices_identity_changed),
    F(omemo_devices_identity_key),
    F(omemo_devices_jid),
    F(omemo_devices_trust_level_name),
    F(omemo_devices_conflicting_key),
    F(omemo_devices_preferred_namespace),
    F(omemo_devices_failed_messages),
    F(omemo_devices_last_seen),
    F(omemo_devices_session_state),
    F(omemo_devices_label),
    F(omemo_devices_provisional),
    F(omemo_devices_receiving_chain_length),
    F(omemo_devices_sending_chain_length),
    F(omemo_devices_downgraded),
    F(omemo_devices_core_trust),
    F(omemo_draft_add_recipient),
    F(omemo_draft_free),
    F(omemo_draft_new),
    F(omemo_draft_remove_recipient),
    F(omemo_draft_set_body),
    F(omemo_draft_set_context),
    F(omemo_draft_set_key_transport),
    F(omemo_draft_set_namespaces),
    F(omemo_draft_set_plaintext),
    F(omemo_draft_set_policy),
    F(omemo_fingerprint),
    F(omemo_manager_accept_identity),
    F(omemo_manager_acknowledge),
    F(omemo_manager_unacknowledged),
    F(omemo_manager_catch_up_begin),
    F(omemo_manager_catch_up_end),
    F(omemo_manager_connected),
    F(omemo_manager_decrypt),
    F(omemo_manager_prefer_namespace),
    F(omemo_manager_decrypt_xml),
    F(omemo_manager_device_id),
    F(omemo_manager_device_list_gone),
    F(omemo_manager_devices),
    F(omemo_manager_disconnected),
    F(omemo_manager_encrypt),
    F(omemo_manager_free),
    F(omemo_manager_is_idle),
    F(omemo_manager_new),
    F(omemo_manager_refresh_devices),
    F(omemo_manager_jids),
    F(omemo_manager_purge_jid),
    F(omemo_manager_replace_sessions),
    F(omemo_manager_run),
    F(omemo_manager_set_trust),
    F(omemo_manager_health),
    F(omemo_manager_delete_account),
    F(omemo_manager_reset_identity),
    F(omemo_manager_remove_own_device),
    F(omemo_manager_clear_device_lists),
    F(omemo_manager_ensure_consistency),
    F(omemo_manager_set_label),
    F(omemo_manager_timeout),
    F(omemo_manager_update_device_list),
    F(omemo_manager_wait),
    F(omemo_message_add_key),
    F(omemo_message_free),
    F(omemo_message_key_bytes),
    F(omemo_message_key_count),
    F(omemo_message_key_device),
    F(omemo_message_key_is_exchange),
    F(omemo_message_key_jid),
    F(omemo_message_namespace),
    F(omemo_message_new),
    F(omemo_message_parse),
    F(omemo_message_payload),
    F(omemo_message_iv),
    F(omemo_message_sender_device),
    F(omemo_message_set_payload),
    F(omemo_message_xml),
    F(omemo_op_cancel),
    F(omemo_request_decide),
    F(omemo_request_reject),
    F(omemo_request_resolve),
    F(omemo_request_resolve_bundle),
    F(omemo_request_resolve_device_list),
    F(omemo_request_resolve_xml),
    F(omemo_result_context),
    F(omemo_result_free),
    F(omemo_result_key),
    F(omemo_result_message),
    F(omemo_result_message_count),
    F(omemo_result_row_count),
    F(omemo_result_row_device),
    F(omemo_result_row_jid),
    F(omemo_result_row_namespace),
    F(omemo_result_row_status),
    F(omemo_result_row_detail),
    F(omemo_result_status),
    F(omemo_result_detail),
    F(omemo_status_name),
    F(omemo_status_text),
    F(omemo_storage_callbacks_new),
    F(omemo_storage_check),
    F(omemo_storage_copy),
    F(omemo_storage_error),
    F(omemo_storage_free),
    F(omemo_storage_memory_new),
    F(omemo_storage_rekey),
    F(omemo_storage_rekey_passphrase),
    F(omemo_storage_sealed_open_key),
    F(omemo_storage_sealed_open_passphrase),
    F(omemo_storage_sqlite_open),
    F(omemo_string_free),
    F(omemo_value_set),
    F(omemo_version),
};

#define MOST_PARAMETERS 8

struct parameter {
  char type[64]; /* without blanks around it, as "const char *" */
  char name[64];
  bool null_allowed;
};

struct declaration {
  char name[64];
  char result[64];
  size_t count;
  struct parameter parameters[MOST_PARAMETERS];
};

/* -- reading the header -- */

static char *read_header(void) {
  char path[1024];
  const char *slash = strrchr(__FILE__, '/');
  snprintf(path, sizeof path, "%.*s/../../include/omemo.h", slash ? (int)(slash - __FILE__) : 1,
           slash ? __FILE__ : ".");
  FILE *file = fopen(path, "rb");
  if (!file) {
    printf("# cannot open %s\n", path);
    abort();
  }
  char *text = need(malloc(1 << 20));
  size_t len = fread(text, 1, (1 << 20) - 1, file);
  fclose(file);
  text[len] = 0;
  return text;
}

/* Copies text without blanks at its ends, and with one blank for many. */
static void trim(char *out, size_t size, const char *text, size_t len) {
  size_t used = 0;
  for (size_t i = 0; i < len && used + 1 < size; i++) {
    bool blank = text[i] == ' ' || text[i] == '\n';
    if (blank && (used == 0 || out[used - 1] == ' ')) continue;
    out[used++] = blank ? ' ' : text[i];
  }
  while (used > 0 && out[used - 1] == ' ') used--;
  out[used] = 0;
}

/* Splits "const char *name" behind the last star or blank. */
static void split(const char *text, size_t len, char *type, char *name) {
  char whole[128];
  trim(whole, sizeof whole, text, len);
  size_t at = strlen(whole);
  while (at > 0 && whole[at - 1] != ' ' && whole[at - 1] != '*') at--;
  trim(name, 64, whole + at, strlen(whole + at));
  trim(type, 64, whole, at);
}

/* Whether the comment says in the line of a parameter, or those that go on with it, that NULL may be given. */
static bool allows_null(const char *comment, const char *end, const char *name) {
  char start[80];
  snprintf(start, sizeof start, " * - %s: ", name);
  const char *line = strstr(comment, start);
  if (!line || line > end) return false;
  const char *next = strchr(line, '\n');
  while (next && strncmp(next, "\n *   ", 6) == 0) next = strchr(next + 1, '\n');
  const char *null = strstr(line, "NULL");
  return null && next && null < next;
}

static bool read_declaration(const char *text, size_t len, const char *comment, const char *end,
                             struct declaration *declaration) {
  const char *open = memchr(text, '(', len);
  if (!open || strncmp(text, "typedef", 7) == 0) return false;
  memset(declaration, 0, sizeof *declaration);
  split(text, (size_t)(open - text), declaration->result, declaration->name);
  if (strncmp(declaration->result, "OMEMO_MUST_USE ", 15) == 0)
    memmove(declaration->result, declaration->result + 15, strlen(declaration->result + 15) + 1);
  const char *at = open + 1, *close = text + len - 1;
  if (strncmp(at, "void)", 5) == 0) return true;
  while (at < close) {
    const char *comma = memchr(at, ',', (size_t)(close - at));
    size_t size = (size_t)((comma ? comma : close) - at);
    if (!CHECK(declaration->count < MOST_PARAMETERS)) return true;
    struct parameter *parameter = &declaration->parameters[declaration->count++];
    split(at, size, parameter->type, parameter->name);
    parameter->null_allowed = allows_null(comment, end, parameter->name);
    at += size + 1;
  }
  return true;
}

static size_t read_declarations(const char *at, struct declaration *list, size_t most) {
  const char *comment = at, *comment_end = at;
  size_t count = 0;
  while (*at) {
    if (*at == ' ' || *at == '\n' || *at == '}') {
      at++;
    } else if (*at == '#') {
      at = strchr(at, '\n');
    } else if (strncmp(at, "/*", 2) == 0) {
      comment = at;
      at = comment_end = strstr(at, "*/") + 2;
    } else if (strncmp(at, "extern \"C\" {", 12) == 0) {
      at += 12;
    } else {
      size_t len = strcspn(at, ";{#");
      if (at[len] == ';' && count < most && read_declaration(at, len, comment, comment_end, &list[count])) count++;
      if (at[len] == '{') {
        at = strchr(at, '}');
        at = strpbrk(at, ";#");
      } else {
        at += len;
      }
      if (*at == ';') at++;
    }
  }
  return count;
}

#endif
