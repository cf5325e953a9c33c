/* Calls every function of the header with everything that it must survive: NULL, bad UTF-8, lengths of zero and beyond
 * all reason, numbers that no enumeration has, numbers of requests and operations that are over.
 *
 * The functions, their parameters, and whether NULL is allowed are read from the header. One argument at a time, and
 * every two of them, are replaced by something hostile. A status must be one of ours and never OMEMO_ERR_INTERNAL; what
 * is written through pointers stays as it was, unless the call succeeded; but where a file cannot be opened, it is a
 * store that tells why. */
#define _POSIX_C_SOURCE 200809L
#include "functions.h"

#include <dirent.h>
#include <unistd.h>

typedef uint64_t eight(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

#define SENTINEL 0x5ca1ab1e5ca1ab1eu

/* -- what is given -- */

static struct account romeo;
static omemo_config *config;
static omemo_draft *draft;
static omemo_storage *storage;
static omemo_message *message;
static omemo_device_list *list;
static omemo_bundle *bundle;
static omemo_devices *devices;
static omemo_decrypted *decrypted;
static omemo_result *result;
static omemo_callbacks callbacks;
static omemo_storage_callbacks storage_callbacks;
static omemo_callbacks small_callbacks, huge_callbacks;
static omemo_storage_callbacks small_storage, huge_storage;
static const char *namespaces[] = {OMEMO_NS_2, OMEMO_NS_LEGACY, "urn:example:unknown", NULL};
static uint64_t slots[MOST_PARAMETERS];
static char *long_text;
static const char *directory_name, *file_path = "store";
/* Of a key: the base point, and then some. */
static const uint8_t bytes[128] = {0x58, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                                   0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                                   0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66};

static void log_nothing(void *user_data, omemo_log_level level, const char *target, const char *line) {
  (void)user_data, (void)level, (void)target, (void)line;
}

static void done_nothing(void *user_data, omemo_op op, omemo_status status, const omemo_result *ended) {
  (void)user_data, (void)op, (void)status, (void)ended;
}

static void destroy_nothing(void *user_data) {
  (void)user_data;
}

/* Objects that every function may take; made anew for each function. */
static void make_objects(void) {
  omemo_op op = 0;
  server_wipe();
  memset(&romeo, 0, sizeof romeo);
  romeo.jid = "romeo@montague.example";
  account_new(&romeo);
  account_connect(&romeo);
  config = omemo_config_new();
  draft = draft_to("juliet@capulet.example", "Ay me!");
  CHECK(omemo_storage_memory_new(&storage) == OMEMO_OK);
  message = omemo_message_new(OMEMO_NS_2, 7);
  CHECK(omemo_message_add_key(message, "juliet@capulet.example", 8, true, bytes, 32) == OMEMO_OK);
  CHECK(omemo_message_set_payload(message, bytes, 32, NULL, 0) == OMEMO_OK);
  list = omemo_device_list_new(OMEMO_NS_2);
  CHECK(omemo_device_list_add(list, 8, "label", bytes) == OMEMO_OK);
  bundle = omemo_bundle_new(OMEMO_NS_2, bytes, 32, 1, bytes, 32, bytes, 64);
  CHECK(omemo_bundle_append_pre_key(bundle, 1, bytes, 32) == OMEMO_OK);
  CHECK(omemo_manager_devices(romeo.manager, NULL, &devices) == OMEMO_OK);
  CHECK(omemo_manager_decrypt(romeo.manager, "juliet@capulet.example", NULL, message, &decrypted) == OMEMO_OK);
  CHECK(omemo_manager_encrypt(romeo.manager, draft, NULL, NULL, &op) == OMEMO_OK);
  result = omemo_manager_wait(romeo.manager, op, 1000);
  callbacks = account_callbacks(&romeo);
  small_callbacks = huge_callbacks = callbacks;
  small_callbacks.struct_size = 8;
  huge_callbacks.struct_size = SIZE_MAX;
  storage_callbacks = (omemo_storage_callbacks){sizeof storage_callbacks, store_load, store_commit};
  small_storage = huge_storage = storage_callbacks;
  small_storage.struct_size = 0;
  huge_storage.struct_size = SIZE_MAX;
}

static void free_objects(void) {
  omemo_config_free(config);
  omemo_draft_free(draft);
  omemo_storage_free(storage);
  omemo_message_free(message);
  omemo_device_list_free(list);
  omemo_bundle_free(bundle);
  omemo_devices_free(devices);
  omemo_decrypted_free(decrypted);
  omemo_result_free(result);
  account_free(&romeo);
}

#define POINTER(pointer) ((uint64_t)(uintptr_t)(pointer))

static bool is_output(const char *type) {
  return strcmp(type, "size_t *") == 0 || strcmp(type, "uint32_t *") == 0 || strcmp(type, "omemo_op *") == 0 ||
         (strstr(type, "**") != NULL);
}

static bool has_length(const struct declaration *declaration, size_t at) {
  if (at + 1 >= declaration->count) return false;
  const struct parameter *next = &declaration->parameters[at + 1];
  return strcmp(next->type, "size_t") == 0 && strstr(next->name, "len") != NULL;
}

/* The value of a parameter: number 0 is a good one, the others are not; false: there are no more. */
static bool value(const struct declaration *declaration, size_t at, size_t number, uint64_t *out) {
  const struct parameter *parameter = &declaration->parameters[at];
  const char *type = parameter->type, *name = parameter->name;
  uint64_t values[10];
  size_t count = 0;
  const struct {
    const char *type;
    const void *object;
  } objects[] = {
      {"omemo_config *", config},         {"omemo_draft *", draft},         {"omemo_storage *", storage},
      {"omemo_message *", message},       {"omemo_device_list *", list},    {"omemo_bundle *", bundle},
      {"omemo_devices *", devices},       {"omemo_decrypted *", decrypted}, {"omemo_result *", result},
      {"omemo_manager *", romeo.manager},
  };
  size_t length = strlen(declaration->name);
  bool frees = length > 5 && strcmp(declaration->name + length - 5, "_free") == 0;
  const char *bare = strncmp(type, "const ", 6) == 0 ? type + 6 : type;
  for (size_t i = 0; i < sizeof objects / sizeof *objects; i++)
    if (strcmp(bare, objects[i].type) == 0) {
      if (!frees) values[count++] = POINTER(objects[i].object); /* what is freed is freed in free_objects */
      values[count++] = 0;
    }
  if (strcmp(type, "omemo_value *") == 0 || strcmp(type, "char *") == 0) {
    values[count++] = 0; /* the good ones exist only inside of load; and are freed below */
  } else if (strcmp(type, "const omemo_callbacks *") == 0) {
    values[count++] = POINTER(&callbacks);
    values[count++] = 0;
    values[count++] = POINTER(&small_callbacks);
    values[count++] = POINTER(&huge_callbacks);
  } else if (strcmp(type, "const omemo_storage_callbacks *") == 0) {
    values[count++] = POINTER(&storage_callbacks);
    values[count++] = 0;
    values[count++] = POINTER(&small_storage);
    values[count++] = POINTER(&huge_storage);
  } else if (is_output(type)) {
    values[count++] = POINTER(&slots[at]);
    values[count++] = 0;
  } else if (strcmp(type, "const char *const *") == 0) {
    values[count++] = POINTER(namespaces);
    values[count++] = 0;
    values[count++] = POINTER(namespaces + 1);
    values[count++] = POINTER(namespaces + 2);
  } else if (strcmp(type, "const char *") == 0) {
    const char *good = strcmp(name, "ns") == 0      ? OMEMO_NS_2
                       : strcmp(name, "path") == 0  ? file_path
                       : strcmp(name, "level") == 0 ? OMEMO_TRUST_LEVEL_NAME_TRUSTED
                       : strcmp(name, "xml") == 0 ? "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='1'/></encrypted>"
                                                  : "juliet@capulet.example";
    values[count++] = POINTER(good);
    values[count++] = 0;
    values[count++] = POINTER("\xff\xfe"
                              "0123456789012345678901234567890123456789012345678901234567890123456789");
    values[count++] = POINTER("");
    if (!has_length(declaration, at)) values[count++] = POINTER(long_text);
    values[count++] = POINTER("a/b");
  } else if (strcmp(type, "const uint8_t *") == 0) {
    values[count++] = POINTER(bytes);
    values[count++] = 0;
  } else if (strcmp(type, "size_t") == 0) {
    /* Of texts some are empty: one byte, the end, is there. */
    bool text = at > 0 && strcmp(declaration->parameters[at - 1].type, "const char *") == 0;
    values[count++] = strcmp(name, "signature_len") == 0 ? 64
                      : strstr(name, "len")              ? (text ? 1 : 32)
                      : strcmp(name, "count") == 0       ? 1
                                                         : 0;
    values[count++] = 0;
    values[count++] = 1;
    if (strcmp(name, "count") == 0) values[count++] = 2;
    values[count++] = SIZE_MAX;
    values[count++] = SIZE_MAX / 2;
    values[count++] = (size_t)1 << 40;
  } else if (strcmp(type, "int32_t") == 0) {
    values[count++] = strcmp(name, "catch_up") == 0 || strcmp(name, "policy") == 0 ? 0 : 1;
    values[count++] = (uint64_t)INT32_MIN;
    values[count++] = (uint64_t)-1;
    values[count++] = 99;
    values[count++] = INT32_MAX;
  } else if (strcmp(type, "uint32_t") == 0) {
    values[count++] = 9;
    values[count++] = 0;
    values[count++] = 0x80000000u;
    values[count++] = UINT32_MAX;
  } else if (strcmp(type, "uint64_t") == 0 || strcmp(type, "omemo_request") == 0 || strcmp(type, "omemo_op") == 0) {
    values[count++] = 1000;
    values[count++] = 0;
    values[count++] = UINT64_MAX;
  } else if (strcmp(type, "int64_t") == 0) {
    values[count++] = 0;
    values[count++] = (uint64_t)-2;
    values[count++] = (uint64_t)INT64_MIN;
    values[count++] = INT64_MAX; /* for an operation that does not exist */
  } else if (strcmp(type, "bool") == 0) {
    values[count++] = 0;
    values[count++] = 1;
  } else if (strcmp(type, "omemo_done") == 0) {
    values[count++] = POINTER((any_function *)done_nothing);
    values[count++] = 0;
  } else if (strcmp(type, "omemo_destroy") == 0) {
    values[count++] = POINTER((any_function *)destroy_nothing);
    values[count++] = 0;
  } else if (strcmp(type, "omemo_log") == 0) {
    values[count++] = POINTER((any_function *)log_nothing);
    values[count++] = 0;
  } else if (strcmp(type, "void *") == 0) {
    values[count++] = 0;
    values[count++] = POINTER(bytes);
  }
  if (count == 0) printf("# %s: nothing is known to give for %s %s\n", declaration->name, type, name);
  CHECK(count > 0);
  if (number >= count) return false;
  *out = values[number];
  return true;
}

/* -- calling -- */

static void free_output(const char *type, uint64_t slot) {
  void *object = (void *)(uintptr_t)slot;
  if (!CHECK(object != NULL)) return;
  if (strstr(type, "omemo_config *")) omemo_config_free(object);
  else if (strstr(type, "omemo_draft *")) omemo_draft_free(object);
  else if (strstr(type, "omemo_storage *")) omemo_storage_free(object);
  else if (strstr(type, "omemo_message *")) omemo_message_free(object);
  else if (strstr(type, "omemo_device_list *")) omemo_device_list_free(object);
  else if (strstr(type, "omemo_bundle *")) omemo_bundle_free(object);
  else if (strstr(type, "omemo_devices *")) omemo_devices_free(object);
  else if (strstr(type, "omemo_decrypted *")) omemo_decrypted_free(object);
  else if (strstr(type, "omemo_result *")) omemo_result_free(object);
  else if (strstr(type, "omemo_manager *")) omemo_manager_free(object);
  else if (strstr(type, "char *")) omemo_string_free(object);
  else if (!CHECK(false)) printf("# nothing frees %s\n", type);
}

static void whole(char *type, size_t size, const char *pointer_to_pointer) {
  snprintf(type, size, "%s", pointer_to_pointer);
  char *star = strrchr(type, '*');
  if (star) *star = 0; /* "omemo_devices **" gives an "omemo_devices *" */
}

static bool known(omemo_status status) {
  return strncmp(omemo_status_name(status), "OMEMO_ERR_(", 11) != 0;
}

/* What is no file is told by an object, and names of files are not UTF-8. */
static bool opens_file(const struct declaration *declaration) {
  return strcmp(declaration->name, "omemo_storage_sqlite_open") == 0;
}

/* Calls once, and looks at what came of it. */
static uint64_t call_once(const struct declaration *declaration, any_function *function, const uint64_t *arguments) {
  for (size_t i = 0; i < MOST_PARAMETERS; i++) slots[i] = SENTINEL;
  uint64_t returned = ((eight *)function)(arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                                          arguments[5], arguments[6], arguments[7]);
  bool success = true;
  const char *type = declaration->result;
  if (strcmp(type, "omemo_status") == 0) {
    omemo_status status = (omemo_status)(int32_t)(uint32_t)returned;
    CHECK(known(status) && status != OMEMO_ERR_INTERNAL);
    success = status == OMEMO_OK;
    returned = (uint64_t)(int64_t)status;
  } else if (strchr(type, '*')) {
    success = returned != 0;
    if (success && strncmp(type, "const", 5) != 0) free_output(type, returned);
  } else if (strcmp(type, "bool") == 0) {
    CHECK((returned & 0xff) <= 1);
  }
  for (size_t i = 0; i < declaration->count; i++) {
    if (!is_output(declaration->parameters[i].type) || arguments[i] == 0) continue;
    if (!success && opens_file(declaration) && slots[i] != SENTINEL) { /* a store that tells why it is none */
      CHECK(omemo_storage_error((omemo_storage *)(uintptr_t)slots[i])[0] != 0);
      omemo_storage_free((omemo_storage *)(uintptr_t)slots[i]);
    } else if (!success) CHECK(slots[i] == SENTINEL);
    char object[64];
    whole(object, sizeof object, declaration->parameters[i].type);
    if (success && strchr(object, '*')) free_output(object, slots[i]);
  }
  return returned;
}

/* Numbers that could make a wait last. */
static void tame(const struct declaration *declaration, uint64_t *arguments) {
  for (size_t i = 0; i < declaration->count; i++)
    if (strcmp(declaration->parameters[i].type, "omemo_op") == 0 && arguments[i] == 1000) arguments[i] = UINT64_MAX - 1;
}

static const struct declaration *declaration_now;
static any_function *function_now;

static void one_function(void) {
  const struct declaration *declaration = declaration_now;
  uint64_t good[MOST_PARAMETERS] = {0};
  make_objects();
  for (size_t i = 0; i < declaration->count; i++) value(declaration, i, 0, &good[i]);
  tame(declaration, good);
  bool is_status = strcmp(declaration->result, "omemo_status") == 0;
  for (size_t i = 0; i < declaration->count; i++) {
    const struct parameter *parameter = &declaration->parameters[i];
    for (size_t a = 1;; a++) {
      uint64_t one[MOST_PARAMETERS];
      memcpy(one, good, sizeof one);
      if (!value(declaration, i, a, &one[i])) break;
      uint64_t returned = call_once(declaration, function_now, one);
      bool pointer = strchr(parameter->type, '*') || strcmp(parameter->type, "omemo_log") == 0;
      if (is_status && pointer && one[i] == 0 && !parameter->null_allowed)
        if (!CHECK((int64_t)returned == OMEMO_ERR_NULL)) printf("# %s is NULL\n", parameter->name);
      bool text = strcmp(parameter->type, "const char *") == 0 && !has_length(declaration, i);
      if (is_status && text && !opens_file(declaration) && one[i] != 0 && *(const char *)(uintptr_t)one[i] == '\xff')
        if (!CHECK((int64_t)returned == OMEMO_ERR_UTF8)) printf("# %s is no UTF-8\n", parameter->name);
      if (is_status && strcmp(parameter->type, "int32_t") == 0 && strncmp(parameter->name, "status", 6) != 0)
        if (!CHECK((int64_t)returned == OMEMO_ERR_ARGUMENT)) printf("# %s is out of range\n", parameter->name);
      for (size_t j = i + 1; j < declaration->count; j++)
        for (size_t b = 1;; b++) {
          uint64_t two[MOST_PARAMETERS];
          memcpy(two, one, sizeof two);
          if (!value(declaration, j, b, &two[j])) break;
          call_once(declaration, function_now, two);
        }
    }
  }
  uint64_t nothing[MOST_PARAMETERS] = {0};
  call_once(declaration, function_now, nothing);
  if (is_status && declaration->count > 0 && strchr(declaration->parameters[0].type, '*'))
    CHECK((int64_t)call_once(declaration, function_now, nothing) == OMEMO_ERR_NULL);
  omemo_status status = omemo_manager_run(romeo.manager);
  CHECK(status == OMEMO_OK);
  free_objects();
}

static struct declaration declarations[512];
static size_t declared;

static void every_function_has_an_entry(void) {
  char *header = read_header();
  declared = read_declarations(header, declarations, sizeof declarations / sizeof *declarations);
  free(header);
  CHECK(declared > 100);
  CHECK(declared == sizeof functions / sizeof *functions);
  for (size_t i = 0; i < declared; i++) {
    bool found = false;
    for (size_t j = 0; j < sizeof functions / sizeof *functions; j++)
      found = found || strcmp(functions[j].name, declarations[i].name) == 0;
    if (!CHECK(found)) printf("# %s has no entry in functions.h\n", declarations[i].name);
  }
}

/* What the calls with bad names leave lies in a directory of its own, too. */
static void enter_directory(void) {
  static char directory[] = "/tmp/omemo-hostile-XXXXXX";
  if (!mkdtemp(directory) || chdir(directory) != 0) abort();
  directory_name = directory;
}

static void leave_directory(void) {
  DIR *directory = opendir(".");
  for (struct dirent *entry; directory && (entry = readdir(directory)) != NULL;) unlink(entry->d_name);
  if (directory) closedir(directory);
  rmdir(directory_name);
}

int main(void) {
  long_text = need(malloc((2 << 20) + 1));
  memset(long_text, 'a', 2 << 20);
  long_text[2 << 20] = 0;
  run_case("every_function_has_an_entry", every_function_has_an_entry);
  enter_directory();
  for (size_t i = 0; i < declared; i++)
    for (size_t j = 0; j < sizeof functions / sizeof *functions; j++)
      if (strcmp(functions[j].name, declarations[i].name) == 0) {
        declaration_now = &declarations[i];
        function_now = functions[j].function;
        run_case(declarations[i].name, one_function);
      }
  free(long_text);
  leave_directory();
  server_wipe();
  return cases_failed == 0 ? 0 : 1;
}
