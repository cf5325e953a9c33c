/* interop_demo.c - libomemo and python-omemo talk to each other: three accounts, two devices each, both namespaces.
 *
 *   cc interop_demo.c $(pkg-config --cflags --libs omemo) -o interop_demo
 *   ./interop_demo PYTHON peer_python.py
 *
 * PYTHON is an interpreter with the packages OMEMO, Twomemo[xml] and Oldmemo[xml]; peer_python.py hosts python's
 * devices in a process of its own, which this program feeds through two pipes. Both sides exchange XML only. Romeo's
 * devices are ours and speak both namespaces, as is the default. Juliet's and the nurse's are python's: juliet-1 knows
 * omemo:2 alone, juliet-2 and the nurse's devices legacy alone; one call of Romeo's reaches them all. Romeo begins with
 * Juliet, the nurse with Romeo.
 */
#define _POSIX_C_SOURCE 200809L
#include <omemo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *why) {
  fprintf(stderr, "interop_demo: %s\n", why);
  exit(1);
}

static char *copy(const char *text) {
  char *twin = strdup(text ? text : "");
  if (!twin) die("out of memory");
  return twin;
}

/* -- devices, mail, and a server with room for 64 PEP items -- */
struct device {
  const char *name, *jid, *ns; /* its only namespace; NULL: both */
  omemo_manager *manager;      /* NULL: python's */
  unsigned long id;            /* its device id, once known */
};

static struct device devices[] = {
    {"romeo-1", "romeo@montague.lit", NULL, NULL, 0},
    {"romeo-2", "romeo@montague.lit", NULL, NULL, 0},
    {"juliet-1", "juliet@capulet.lit", OMEMO_NS_2, NULL, 0},
    {"juliet-2", "juliet@capulet.lit", OMEMO_NS_LEGACY, NULL, 0},
    {"nurse-1", "nurse@capulet.lit", OMEMO_NS_LEGACY, NULL, 0},
    {"nurse-2", "nurse@capulet.lit", OMEMO_NS_LEGACY, NULL, 0},
};
enum { DEVICES = sizeof devices / sizeof devices[0], OURS = 2 };

static struct mail {
  size_t to;
  char *from, *ns, *xml;
  struct mail *next;
} * mailbox; /* with a namespace: a device list */
static struct { char *node, *xml; } server[64];
static int shown_by_us, shown_by_python;

static void post(size_t to, const char *from, const char *ns, const char *xml) {
  struct mail *mail = calloc(1, sizeof *mail), **last = &mailbox;
  if (!mail) die("out of memory");
  mail->to = to;
  mail->from = copy(from);
  mail->ns = ns ? copy(ns) : NULL;
  mail->xml = copy(xml);
  while (*last) last = &(*last)->next;
  *last = mail;
}

/* A chat message: to all devices of a JID, and to the sender's other devices. */
static void post_message(const struct device *sender, const char *jid, const char *xml, int copies) {
  for (size_t i = 0; i < DEVICES; i++) {
    int own = strcmp(devices[i].jid, sender->jid) == 0;
    if (&devices[i] != sender && (strcmp(devices[i].jid, jid) == 0 || (own && copies))) post(i, sender->jid, NULL, xml);
  }
}

static char **item(const char *ns, const char *jid, const char *device) {
  char node[256];
  snprintf(node, sizeof node, "%s %s %s", ns, jid, device);
  for (size_t i = 0; i < sizeof server / sizeof server[0]; i++)
    if (!server[i].node || strcmp(server[i].node, node) == 0) {
      if (!server[i].node) server[i].node = copy(node);
      return &server[i].xml;
    }
  die("the server is full");
  return NULL;
}

static void publish(const char *ns, const char *jid, const char *device, const char *xml) {
  char **slot = item(ns, jid, device);
  free(*slot);
  *slot = copy(xml);
  if (strcmp(device, "list") == 0)
    for (size_t i = 0; i < DEVICES; i++) post(i, jid, ns, xml);
}

/* -- python: records of fields "name length LF bytes LF", each record closed by an empty line -- */
static FILE *to_python, *from_python;
static pid_t python;

struct record {
  size_t count;
  char *name[64], *value[64];
};

static const char *field(const struct record *record, const char *name) {
  for (size_t i = 0; i < record->count; i++)
    if (strcmp(record->name[i], name) == 0) return record->value[i];
  return NULL;
}

static const char *need(const struct record *record, const char *name) {
  const char *value = field(record, name);
  if (!value) die("python's answer lacks a field");
  return value;
}

static void clear(struct record *record) {
  for (size_t i = 0; i < record->count; i++) {
    free(record->name[i]);
    free(record->value[i]);
  }
  record->count = 0;
}

static void write_field(const char *name, const char *value) {
  fprintf(to_python, "%s %lu\n%s\n", name, (unsigned long)strlen(value), value);
}

static void read_record(struct record *record) {
  char line[128], name[64];
  unsigned long len = 0;
  clear(record);
  for (;;) {
    if (!fgets(line, sizeof line, from_python)) die("python is gone");
    if (line[0] == '\n') return;
    if (sscanf(line, "%63s %lu", name, &len) != 2 || record->count == 64) die("python writes no record");
    char *value = malloc(len + 1);
    if (!value) die("out of memory");
    if (fread(value, 1, len + 1, from_python) != len + 1) die("python stops in a field");
    value[len] = '\0';
    record->name[record->count] = copy(name);
    record->value[record->count++] = value;
  }
}

/* A question of python about PEP, answered from the server. */
static void answer_python(const struct record *question) {
  const char *ask = field(question, "ask"), *ns = field(question, "ns"), *jid = field(question, "jid");
  const char *device = field(question, "device"), *xml = field(question, "xml");
  if (!ask || !ns || !jid) die("python asks nothing");
  if (strncmp(ask, "publish", 7) == 0 && xml) {
    publish(ns, jid, device ? device : "list", xml);
    write_field("ok", "1");
  } else if (strncmp(ask, "fetch", 5) == 0) {
    const char *held = *item(ns, jid, device ? device : "list");
    write_field(held ? "xml" : "missing", held ? held : "1");
  } else {
    die("python asks what nobody knows");
  }
  fputc('\n', to_python);
  fflush(to_python);
}

/* Send a request (name, value, ..., NULL) and read its answer; questions on the way are answered. */
static void ask_python(struct record *answer, const char *command, ...) {
  va_list fields;
  const char *name;
  write_field("do", command);
  va_start(fields, command);
  while ((name = va_arg(fields, const char *)) != NULL) write_field(name, va_arg(fields, const char *));
  va_end(fields);
  fputc('\n', to_python);
  fflush(to_python);
  for (;;) {
    read_record(answer);
    if (field(answer, "done")) break;
    answer_python(answer);
  }
  if (field(answer, "failed")) die(field(answer, "why"));
}

static void start_python(const char *interpreter, const char *script) {
  int in[2], out[2];
  if (pipe(in) != 0 || pipe(out) != 0 || (python = fork()) < 0) die("no pipe, or no process");
  if (python == 0) {
    dup2(in[0], 0);
    dup2(out[1], 1);
    close(in[1]);
    close(out[0]);
    execl(interpreter, interpreter, script, (char *)NULL);
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  to_python = fdopen(in[1], "w");
  from_python = fdopen(out[0], "r");
  if (!to_python || !from_python) die("no stream for a pipe");
}

/* Empty messages that python wants sent. */
static void empty_outbox(const struct device *device) {
  struct record box = {0};
  ask_python(&box, "outbox", "name", device->name, NULL);
  for (size_t i = 0, stanza = 0; i < box.count; i++) {
    if (strcmp(box.name[i], "jid") != 0) continue;
    for (size_t nth = 0, j = 0; j < box.count; j++)
      if (strcmp(box.name[j], "xml") == 0 && nth++ == stanza) post_message(device, box.value[i], box.value[j], 0);
    stanza++;
  }
  clear(&box);
}

/* -- libomemo: what it asks is answered inside the callbacks -- */
static void answer(omemo_request request, const char *ns, const char *jid, const char *device) {
  const char *xml = *item(ns, jid, device);
  if (xml) omemo_request_resolve_xml(request, xml, strlen(xml));
  else omemo_request_reject(request, OMEMO_REJECT_NOT_FOUND);
}

static void fetch_device_list(void *user_data, omemo_request request, const char *ns, const char *jid) {
  (void)user_data;
  answer(request, ns, jid, "list");
}

static void fetch_bundle(void *user_data, omemo_request request, const char *ns, const char *jid, uint32_t device) {
  char id[16];
  (void)user_data;
  snprintf(id, sizeof id, "%lu", (unsigned long)device);
  answer(request, ns, jid, id);
}

static void publish_device_list(void *user_data, omemo_request request, const char *ns, const omemo_device_list *list) {
  publish(ns, ((struct device *)user_data)->jid, "list", omemo_device_list_xml(list, NULL));
  omemo_request_resolve(request);
}

static void publish_bundle(void *user_data, omemo_request request, const char *ns, uint32_t device,
                           const omemo_bundle *bundle) {
  char id[16];
  snprintf(id, sizeof id, "%lu", (unsigned long)device);
  publish(ns, ((struct device *)user_data)->jid, id, omemo_bundle_xml(bundle, NULL));
  omemo_request_resolve(request);
}

static void delete_bundle(void *user_data, omemo_request request, const char *ns, uint32_t device) {
  char id[16];
  snprintf(id, sizeof id, "%lu", (unsigned long)device);
  char **slot = item(ns, ((struct device *)user_data)->jid, id);
  free(*slot);
  *slot = NULL;
  omemo_request_resolve(request);
}

static void send_message(void *user_data, omemo_request request, const char *jid, const omemo_message *message) {
  post_message(user_data, jid, omemo_message_xml(message, NULL), 0);
  omemo_request_resolve(request);
}

/* The user of this program trusts every key but one: that of juliet-2, which she has not compared yet. */
static void decide_trust(void *user_data, omemo_request request, const omemo_devices *undecided, const char *context) {
  (void)context;
  for (size_t i = 0; i < omemo_devices_count(undecided); i++) {
    const char *level = omemo_devices_id(undecided, i) == devices[3].id ? OMEMO_TRUST_LEVEL_NAME_DISTRUSTED
                                                                        : OMEMO_TRUST_LEVEL_NAME_TRUSTED;
    printf("  %s decides: %s, device %lu is %s\n      %s\n", ((struct device *)user_data)->name,
           omemo_devices_jid(undecided, i), (unsigned long)omemo_devices_id(undecided, i), level,
           omemo_devices_fingerprint(undecided, i));
    omemo_request_decide(request, i, level);
  }
  omemo_request_resolve(request);
}

/* -- mail is taken in by either implementation -- */
static void take_in_ours(struct device *device, const char *from, const char *xml) {
  omemo_decrypted *decrypted = NULL;
  if (omemo_manager_decrypt_xml(device->manager, from, NULL, xml, strlen(xml), &decrypted) != OMEMO_OK)
    die("a stanza could not be dealt with");
  if (omemo_decrypted_action(decrypted) == OMEMO_ACTION_SHOW) {
    printf("  %-8s (libomemo)     reads from %s: %s   [%s, %s]\n", device->name, from, omemo_decrypted_body(decrypted),
           omemo_decrypted_trust_level_name(decrypted), omemo_decrypted_namespace(decrypted));
    shown_by_us++;
  } else if (omemo_decrypted_action(decrypted) == OMEMO_ACTION_WARN) {
    printf("  %-8s (libomemo)     cannot read from %s: %s\n", device->name, from, omemo_decrypted_detail(decrypted));
  }
  omemo_decrypted_free(decrypted);
}

static void take_in_python(const struct device *device, const char *from, const char *xml) {
  struct record answer = {0};
  if (!strstr(xml, device->ns)) return; /* nothing that it knows */
  ask_python(&answer, "decrypt", "name", device->name, "sender", from, "xml", xml, NULL);
  if (field(&answer, "text")) {
    printf("  %-8s (python-omemo) reads from %s: %s\n", device->name, from, field(&answer, "text"));
    shown_by_python++;
  } else if (field(&answer, "class") && strcmp(field(&answer, "class"), "MessageNotForUs") != 0) {
    printf("  %-8s (python-omemo) cannot read from %s: %s\n", device->name, from, field(&answer, "class"));
  }
  clear(&answer);
}

static void take_in_list(struct device *device, const char *ns, const char *jid, const char *xml) {
  omemo_device_list *list = NULL;
  if (device->manager) {
    if (omemo_device_list_parse(xml, strlen(xml), &list) != OMEMO_OK) die("a device list cannot be read");
    omemo_manager_update_device_list(device->manager, jid, list);
    omemo_device_list_free(list);
  } else if (device->id != 0) {
    struct record answer = {0};
    ask_python(&answer, "push", "name", device->name, "ns", ns, "jid", jid, "xml", xml, NULL);
    clear(&answer);
  }
}

/* Everybody does what there is to do, until no mail is left. */
static void settle(void) {
  do {
    for (size_t i = 0; i < OURS; i++) omemo_manager_run(devices[i].manager);
    for (struct mail *mail; (mail = mailbox) != NULL; free(mail)) {
      struct device *device = &devices[mail->to];
      mailbox = mail->next;
      if (mail->ns) take_in_list(device, mail->ns, mail->from, mail->xml);
      else if (device->manager) take_in_ours(device, mail->from, mail->xml);
      else take_in_python(device, mail->from, mail->xml);
      if (!device->manager && device->id != 0) empty_outbox(device);
      free(mail->from);
      free(mail->ns);
      free(mail->xml);
    }
    for (size_t i = 0; i < OURS; i++) omemo_manager_run(devices[i].manager);
  } while (mailbox);
}

/* -- the story -- */
static void check(const struct device *device, const omemo_result *result) {
  if (omemo_result_status(result) == OMEMO_OK) return;
  fprintf(stderr, "%s: %s\n", device->name, omemo_result_detail(result));
  exit(1);
}

static void file_of(const struct device *device, char *file, size_t size) {
  snprintf(file, size, "interop_demo-%s.db", device->name);
}

static void start_ours(struct device *device) {
  static const omemo_callbacks callbacks = {.struct_size = sizeof(omemo_callbacks),
                                            .fetch_device_list = fetch_device_list,
                                            .fetch_bundle = fetch_bundle,
                                            .publish_device_list = publish_device_list,
                                            .publish_bundle = publish_bundle,
                                            .send_message = send_message,
                                            .decide_trust = decide_trust,
                                            .delete_bundle = delete_bundle};
  omemo_config *config = omemo_config_new();
  omemo_storage *storage = NULL;
  omemo_devices *own = NULL;
  omemo_op op = 0;
  char file[64];
  file_of(device, file, sizeof file);
  remove(file);
  if (omemo_storage_sqlite_open(file, &storage) != OMEMO_OK) die(omemo_storage_error(storage));
  omemo_config_set_jid(config, device->jid);
  omemo_config_set_storage(config, storage);
  omemo_config_set_callbacks(config, &callbacks, device, NULL);
  if (omemo_manager_new(config, &device->manager) != OMEMO_OK) die(omemo_config_error(config));
  omemo_storage_free(storage);
  omemo_config_free(config);
  omemo_manager_connected(device->manager, OMEMO_CATCH_UP_NONE, NULL, NULL, &op);
  omemo_result *result = omemo_manager_wait(device->manager, op, 10000);
  check(device, result);
  omemo_result_free(result);
  if (omemo_manager_devices(device->manager, NULL, &own) != OMEMO_OK) die("the own device is unknown");
  device->id = omemo_devices_id(own, 0);
  printf("  %-8s (libomemo)     device %10lu  %s\n", device->name, device->id, omemo_devices_fingerprint(own, 0));
  omemo_devices_free(own);
}

static void start_python_device(struct device *device) {
  static const char *const namespaces[] = {OMEMO_NS_2, OMEMO_NS_LEGACY};
  struct record answer = {0};
  ask_python(&answer, "device", "name", device->name, "jid", device->jid, "ns", device->ns, NULL);
  device->id = strtoul(need(&answer, "device"), NULL, 10);
  ask_python(&answer, "fingerprint", "name", device->name, NULL);
  printf("  %-8s (python-omemo) device %10lu  %s\n", device->name, device->id, need(&answer, "fingerprint"));
  clear(&answer);
  for (size_t i = 0; i < 2 * DEVICES; i++) { /* what was published before it came */
    const char *ns = namespaces[i % 2], *jid = devices[i / 2].jid, *list = *item(ns, jid, "list");
    if (list && strcmp(ns, device->ns) == 0) post((size_t)(device - devices), jid, ns, list);
  }
}

/* Each device is served in one namespace: the first of ours that it announces. */
static void tell_who_was_served(const omemo_result *result) {
  for (size_t i = 0; i < omemo_result_row_count(result); i++)
    for (size_t at = 0; at < DEVICES; at++)
      if (omemo_result_row_device(result, i) != 0 && omemo_result_row_device(result, i) == devices[at].id)
        printf("  %-8s %s\n", devices[at].name,
               omemo_result_row_status(result, i) == OMEMO_OK ? omemo_result_row_namespace(result, i)
                                                              : omemo_result_row_detail(result, i));
}

/* to: one JID, or two with a space between them. */
static void say(struct device *device, const char *to, const char *text) {
  printf("%s -> %s\n", device->name, to);
  if (device->manager) {
    omemo_draft *draft = omemo_draft_new();
    omemo_op op = 0;
    char *jids = copy(to), *second = strchr(jids, ' ');
    if (second) *second++ = '\0';
    omemo_draft_add_recipient(draft, jids);
    if (second) omemo_draft_add_recipient(draft, second);
    omemo_draft_set_body(draft, text);
    omemo_manager_encrypt(device->manager, draft, NULL, NULL, &op);
    omemo_draft_free(draft);
    omemo_result *result = omemo_manager_wait(device->manager, op, 10000);
    check(device, result);
    tell_who_was_served(result);
    for (size_t i = 0; i < omemo_result_message_count(result); i++) {
      const char *xml = omemo_message_xml(omemo_result_message(result, i), NULL);
      post_message(device, jids, xml, 1);
      if (second) post_message(device, second, xml, 0);
    }
    omemo_result_free(result);
    free(jids);
  } else {
    struct record answer = {0};
    ask_python(&answer, "encrypt", "name", device->name, "to", to, "text", text, NULL);
    if (!field(&answer, "xml")) die("python encrypts for nobody");
    post_message(device, to, field(&answer, "xml"), 1);
    clear(&answer);
  }
  settle();
}

/* juliet-2 has shown its fingerprint in person: from now on it is trusted. */
static void trust(struct device *device, const char *jid, unsigned long id) {
  omemo_devices *known = NULL;
  if (omemo_manager_devices(device->manager, jid, &known) != OMEMO_OK) die("no devices");
  for (size_t i = 0; i < omemo_devices_count(known); i++) {
    size_t len = 0;
    const uint8_t *key = omemo_devices_identity_key(known, i, &len);
    if (omemo_devices_id(known, i) != id || !key) continue;
    if (omemo_manager_set_trust(device->manager, jid, key, len, OMEMO_TRUST_LEVEL_NAME_TRUSTED) != OMEMO_OK)
      die("no trust");
    printf("%s has compared fingerprints and trusts device %lu of %s\n", device->name, id, jid);
  }
  omemo_devices_free(known);
}

int main(int argc, char **argv) {
  struct device *romeo = &devices[0], *juliet = &devices[2], *nurse = &devices[4];
  struct record answer = {0};
  if (argc != 3) die("usage: interop_demo PYTHON peer_python.py");
  setvbuf(stdout, NULL, _IOLBF, 0);
  start_python(argv[1], argv[2]);

  printf("The devices:\n");
  for (size_t i = 0; i < DEVICES; i++) (i < OURS ? start_ours : start_python_device)(&devices[i]);
  settle();

  printf("\nRomeo begins; juliet-2 is not trusted yet:\n");
  say(romeo, juliet->jid, "But, soft! what light through yonder window breaks?");
  say(juliet, romeo->jid, "Ay me!");
  say(romeo, juliet->jid, "She speaks. O, speak again, bright angel!");
  say(juliet, romeo->jid, "O Romeo, Romeo! wherefore art thou Romeo?");
  trust(romeo, juliet->jid, devices[3].id);
  say(romeo, juliet->jid, "Shall I hear more, or shall I speak at this?");
  say(&devices[3], romeo->jid, "'Tis but thy name that is my enemy.");

  printf("\nThe nurse begins:\n");
  say(nurse, romeo->jid, "I pray you, sir, can you tell me where I may find the young Romeo?");
  say(&devices[1], nurse->jid, "I can tell you; but young Romeo will be older when you have found him.");
  say(&devices[5], romeo->jid, "You say well.");
  say(romeo, nurse->jid, "I am the youngest of that name.");
  say(nurse, romeo->jid, "If you be he, sir, I desire some confidence with you.");
  say(&devices[1], nurse->jid, "Commend me to thy lady.");

  printf("\nOne call reaches omemo:2 and legacy devices:\n");
  say(romeo, "juliet@capulet.lit nurse@capulet.lit", "I come, anon.");

  printf("\nlibomemo read %d messages, python-omemo read %d.\n", shown_by_us, shown_by_python);
  for (size_t i = 0; i < OURS; i++) {
    char file[64];
    omemo_manager_free(devices[i].manager);
    file_of(&devices[i], file, sizeof file);
    remove(file);
  }
  for (size_t i = 0; i < sizeof server / sizeof server[0]; i++) {
    free(server[i].node);
    free(server[i].xml);
  }
  ask_python(&answer, "quit", NULL);
  clear(&answer);
  fclose(to_python);
  fclose(from_python);
  waitpid(python, NULL, 0);
  /* Romeo's six words each reach his other device; Juliet's and the nurse's reach both of his. Python's devices read
   * Romeo's too, but juliet-2 hears him only once trusted, and each other's. */
  return shown_by_us == (3 + 6) + (3 + 6) + 1 && shown_by_python == (1 + 1 + 2) + (6 + 3) + 4 ? 0 : 1;
}
