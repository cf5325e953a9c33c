/* Plays with one account by chance, and holds a simple model of the contract against what it sees: every operation ends
 * once, every question is answered or withdrawn once, no two open questions are the same, the bell rings once for each
 * sleep, and whatever was done, all operations end when everything is answered.
 *
 * OMEMO_GAMES: how many games (60). OMEMO_SEED: the first seed; a failure names that of its game. */
#define _POSIX_C_SOURCE 200809L
#include "world.h"

#define ROMEO "romeo@montague.example"
#define JULIET "juliet@capulet.example"

enum { STEPS = 120, OPERATIONS = 4 * STEPS, REQUESTS = 4000, LIMIT = 3, PEOPLE = 6 };

/* The first is a real account; the others announce devices that have no bundle, or nothing. */
static const char *const people[PEOPLE] = {JULIET,
                                           "mercutio@verona.example",
                                           "nurse@capulet.example",
                                           "paris@verona.example",
                                           "tybalt@capulet.example",
                                           "benvolio@montague.example"};

/* -- chance -- */

static uint64_t random_state;

static unsigned chance(unsigned below) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (unsigned)((random_state >> 11) % below);
}

/* -- the model -- */

enum life { OPEN, ANSWERED, LATE, WITHDRAWN };

struct request {
  struct question question; /* without what it owns */
  enum life life;
};

struct operation {
  omemo_op op;
  unsigned ends;
  bool done_given, cancelled, ordered, all;
  unsigned people; /* a bit for each recipient; 0: not an encryption */
};

static struct account romeo;
static struct request requests[REQUESTS];
static size_t request_count;
static struct operation operations[OPERATIONS];
static size_t operation_count;
static size_t ended_order[OPERATIONS];
static size_t ended_count;
static bool inside, online, freed;
static unsigned depth;
static unsigned operations_total, requests_total, withdrawn_total, cancelled_total, served_total, decided_total,
    games_freed_inside;

static struct request *request_of(omemo_request number) {
  for (size_t i = 0; i < request_count; i++)
    if (requests[i].question.request == number) return &requests[i];
  return NULL;
}

static bool same_topic(const struct question *a, const struct question *b) {
  return a->kind == b->kind && is_fetch(a) && a->device == b->device && strcmp(a->ns, b->ns) == 0 &&
         strcmp(a->jid, b->jid) == 0;
}

static void asked(const struct question *question) {
  unsigned open_fetches = 0;
  CHECK(inside && online && !freed);
  CHECK(question->request != 0 && request_of(question->request) == NULL);
  for (size_t i = 0; i < request_count; i++) {
    if (requests[i].life != OPEN && requests[i].life != LATE) continue;
    CHECK(!same_topic(&requests[i].question, question));
    if (is_fetch(&requests[i].question)) open_fetches++;
  }
  CHECK(!is_fetch(question) || open_fetches < LIMIT);
  if (!CHECK(request_count < REQUESTS)) return;
  requests[request_count] = (struct request){*question, OPEN};
  requests[request_count].question.xml = requests[request_count].question.context = NULL;
  request_count++;
}

/* What an answer may come to. It is late when nobody wants it, though that was not said yet. */
static void answered(omemo_request number, omemo_status status) {
  struct request *request = request_of(number);
  if (!CHECK(request != NULL)) return;
  switch (status) {
  case OMEMO_OK:
    CHECK(request->life == OPEN);
    request->life = ANSWERED;
    break;
  case OMEMO_ERR_STALE:
    if (request->life == OPEN) request->life = LATE;
    break;
  default:
    CHECK(status == OMEMO_ERR_WRONG_ANSWER && request->life == OPEN);
  }
}

static void on_gone(struct account *account) {
  struct request *request = request_of(account->last_withdrawn);
  CHECK(inside);
  if (!CHECK(request != NULL)) return;
  CHECK(request->life == OPEN || request->life == LATE);
  request->life = WITHDRAWN;
}

static void on_end(void *user_data, omemo_op op, omemo_status status, const omemo_result *result);

/* -- moves -- */

static void take_out(omemo_request number) {
  for (size_t i = 0; i < romeo.open_count; i++)
    if (romeo.open[i].request == number) {
      question_free(&romeo.open[i]);
      memmove(&romeo.open[i], &romeo.open[i + 1], (romeo.open_count - i - 1) * sizeof *romeo.open);
      romeo.open_count--;
      return;
    }
}

static void answer_by_chance(size_t at) {
  static const char *const rubbish[] = {"", "<", "<iq type='error'/>", "\xff", "<devices xmlns='urn:xmpp:omemo:2'/>"};
  struct question *question = &romeo.open[at];
  omemo_request number = question->request;
  omemo_status status;
  switch (chance(8)) {
  case 0:
    status = omemo_request_reject(number, 1 + (int32_t)chance(5));
    break;
  case 1: {
    const char *xml = rubbish[chance(5)];
    status = omemo_request_resolve_xml(number, xml, strlen(xml));
    break;
  }
  case 2: {
    omemo_device_list *list = omemo_device_list_new(world_ns);
    (void)omemo_device_list_add(list, 1 + chance(3), NULL, NULL);
    status = omemo_request_resolve_device_list(number, list);
    omemo_device_list_free(list);
    break;
  }
  default:
    status = answer(&romeo, question);
  }
  answered(number, status);
  if (status != OMEMO_ERR_WRONG_ANSWER) take_out(number);
}

static void answer_again(void) {
  if (request_count == 0) return;
  const struct request *request = &requests[chance((unsigned)request_count)];
  if (request->life == OPEN) return;
  CHECK(omemo_request_resolve(request->question.request) == OMEMO_ERR_STALE);
  CHECK(omemo_request_reject(request->question.request, OMEMO_REJECT_FAILED) == OMEMO_ERR_STALE);
  CHECK(omemo_request_decide(request->question.request, 0, OMEMO_TRUST_LEVEL_NAME_TRUSTED) == OMEMO_ERR_STALE);
}

static void start(void) {
  if (operation_count == OPERATIONS) return;
  struct operation *operation = &operations[operation_count];
  memset(operation, 0, sizeof *operation);
  operation->done_given = chance(8) != 0;
  omemo_done done = operation->done_given ? on_end : NULL;
  omemo_status status;
  if (chance(4) == 0) {
    status = omemo_manager_refresh_devices(romeo.manager, chance(4) ? people[chance(PEOPLE)] : NULL, NULL, done,
                                           operation, &operation->op);
    CHECK(status == (freed ? OMEMO_ERR_CANCELLED : online ? OMEMO_OK : OMEMO_ERR_OFFLINE));
  } else {
    omemo_draft *draft = omemo_draft_new();
    int32_t policy = (int32_t)chance(3);
    for (unsigned i = 0; i <= chance(2); i++) {
      unsigned person = chance(PEOPLE);
      operation->people |= 1u << person;
      CHECK(omemo_draft_add_recipient(draft, people[person]) == OMEMO_OK);
    }
    operation->ordered = policy != OMEMO_ENCRYPT_NOW;
    operation->all = policy == OMEMO_ENCRYPT_ALL;
    CHECK(omemo_draft_set_policy(draft, policy) == OMEMO_OK);
    CHECK(omemo_draft_set_body(draft, "It is the east.") == OMEMO_OK);
    status = omemo_manager_encrypt(romeo.manager, draft, done, operation, &operation->op);
    omemo_draft_free(draft);
    CHECK(status == (freed ? OMEMO_ERR_CANCELLED : OMEMO_OK));
  }
  CHECK((status == OMEMO_OK) == (operation->op != 0) && operation->ends == 0);
  if (status == OMEMO_OK) operation_count++;
}

static void cancel(void) {
  if (operation_count == 0) return;
  struct operation *operation = &operations[chance((unsigned)operation_count)];
  omemo_status status = omemo_op_cancel(operation->op);
  if (operation->cancelled || operation->ends > 0 || freed) {
    CHECK(status == OMEMO_ERR_STALE);
  } else if (status == OMEMO_OK) {
    operation->cancelled = true; /* else its end was not delivered yet, or it has none to deliver */
    cancelled_total++;
  } else {
    CHECK(status == OMEMO_ERR_STALE);
  }
}

static void read_something(void) {
  omemo_devices *devices = NULL;
  omemo_decrypted *decrypted = NULL;
  char xml[128];
  snprintf(xml, sizeof xml, "<encrypted xmlns='%s'><header sid='5'/></encrypted>", world_ns);
  omemo_status status = omemo_manager_devices(romeo.manager, people[chance(PEOPLE)], &devices);
  CHECK(status == (freed ? OMEMO_ERR_CANCELLED : OMEMO_OK));
  omemo_devices_free(devices);
  status = omemo_manager_decrypt_xml(romeo.manager, people[chance(PEOPLE)], NULL, xml, strlen(xml), &decrypted);
  CHECK(status == (freed ? OMEMO_ERR_CANCELLED : OMEMO_OK));
  omemo_decrypted_free(decrypted);
}

static void push_list(void) {
  omemo_device_list *list = omemo_device_list_new(world_ns);
  for (unsigned i = chance(3); i > 0; i--) CHECK(omemo_device_list_add(list, 10 + i, NULL, NULL) == OMEMO_OK);
  omemo_status status = omemo_manager_update_device_list(romeo.manager, people[1 + chance(PEOPLE - 1)], list);
  CHECK(status == (freed ? OMEMO_ERR_CANCELLED : OMEMO_OK));
  omemo_device_list_free(list);
}

/* In an event; seldom frees the manager there. */
static void inside_event(void) {
  if (depth > 0) return;
  depth++;
  CHECK(inside);
  CHECK(omemo_manager_run(romeo.manager) == (freed ? OMEMO_ERR_CANCELLED : OMEMO_ERR_BUSY));
  switch (chance(12)) {
  case 0:
    start();
    break;
  case 1:
    cancel();
    break;
  case 2:
    answer_again();
    break;
  case 3:
    read_something();
    break;
  case 4:
    if (romeo.open_count > 0) answer_by_chance(chance((unsigned)romeo.open_count));
    break;
  case 5:
    if (chance(150) == 0 && !freed) {
      freed = true;
      games_freed_inside++;
      omemo_manager_free(romeo.manager);
      CHECK(romeo.destroyed == 0);
    }
    break;
  default:
    break;
  }
  depth--;
}

static void on_question(struct account *account) {
  asked(&account->open[account->open_count - 1]);
  while (account->open_count > 0 && chance(3) == 0) answer_by_chance(chance((unsigned)account->open_count));
  inside_event();
}

static void on_end(void *user_data, omemo_op op, omemo_status status, const omemo_result *result) {
  struct operation *operation = user_data;
  CHECK(inside && romeo.destroyed == 0);
  CHECK(operation->op == op && operation->done_given && operation->ends == 0);
  operation->ends++;
  CHECK(omemo_result_status(result) == status && strncmp(omemo_status_name(status), "OMEMO_ERR_(", 11) != 0);
  CHECK(status != OMEMO_ERR_INTERNAL && status != OMEMO_ERR_STALE && status != OMEMO_ERR_PENDING);
  CHECK(!operation->cancelled || status == OMEMO_ERR_CANCELLED);
  CHECK(status != OMEMO_ERR_CANCELLED || operation->cancelled || freed);
  /* An encryption waits for the stream, but not for ever for lists that change all the time. */
  CHECK(status != OMEMO_ERR_OFFLINE || operation->people == 0 || operation->all);
  CHECK((omemo_result_message_count(result) > 0) == (status == OMEMO_OK && operation->people != 0));
  if (omemo_result_message_count(result) > 0) served_total++;
  if (operation->ordered && status != OMEMO_ERR_CANCELLED) {
    size_t mine = (size_t)(operation - operations);
    for (size_t i = 0; i < ended_count; i++)
      CHECK(operations[ended_order[i]].people != operation->people || ended_order[i] < mine);
    ended_order[ended_count++] = mine;
  }
  inside_event();
}

/* Runs, and looks at the bell and the time. */
static void run(void) {
  inside = true;
  omemo_status status = omemo_manager_run(romeo.manager);
  inside = false;
  if (freed) {
    CHECK(status == OMEMO_ERR_CANCELLED);
    return;
  }
  CHECK(status == OMEMO_OK);
  for (size_t i = 0; i < request_count; i++) CHECK(requests[i].life != LATE);
  for (size_t i = 0; i < operation_count; i++)
    if (operations[i].cancelled && operations[i].done_given) CHECK(operations[i].ends == 1);
  CHECK(omemo_manager_timeout(romeo.manager) != 0);
}

static void move(void) {
  switch (chance(12)) {
  case 0:
  case 1:
  case 2:
    start();
    break;
  case 3:
    cancel();
    break;
  case 4:
    answer_again();
    break;
  case 5:
    read_something();
    break;
  case 6:
    push_list();
    break;
  case 7:
    if (chance(3) > 0) break;
    CHECK(omemo_manager_disconnected(romeo.manager) == OMEMO_OK);
    online = false;
    break;
  case 8:
    if (!online || chance(8) == 0) {
      struct operation *operation = &operations[operation_count];
      if (operation_count == OPERATIONS) break;
      memset(operation, 0, sizeof *operation);
      operation->done_given = true;
      CHECK(omemo_manager_connected(romeo.manager, OMEMO_CATCH_UP_NONE, on_end, operation, &operation->op) == OMEMO_OK);
      operation_count++;
      online = true;
    }
    break;
  default:
    for (unsigned i = chance(4); i > 0 && romeo.open_count > 0; i--)
      answer_by_chance(chance((unsigned)romeo.open_count));
  }
}

/* omemo_manager_timeout returns no more, whatever is due later. */
#define LONGEST_SLEEP_MS 1800000

/* Between two runs: some moves, and what the bell did meanwhile. */
static void between(void) {
  unsigned before = romeo.wakeups;
  for (unsigned i = chance(5); i > 0; i--) move();
  int64_t timeout = omemo_manager_timeout(romeo.manager);
  CHECK(romeo.wakeups - before <= 1);
  if (timeout == 0) CHECK(romeo.wakeups - before == 1);
  if (romeo.wakeups == before && timeout > 0 && chance(6) == 0) {
    romeo.now += timeout; /* exactly then, and not before; the longest sleep is no deadline */
    CHECK(omemo_manager_timeout(romeo.manager) == 0 || timeout == LONGEST_SLEEP_MS);
  } else if (chance(10) == 0) {
    romeo.now += chance(100000);
  }
}

static bool all_ended(void) {
  for (size_t i = 0; i < operation_count; i++)
    if (operations[i].done_given && operations[i].ends == 0) return false;
  return true;
}

/* Everything is answered as a server and a person would: then everything ends. */
static void come_to_an_end(void) {
  if (!online) CHECK(omemo_manager_connected(romeo.manager, OMEMO_CATCH_UP_NONE, NULL, NULL, NULL) == OMEMO_OK);
  online = true;
  for (unsigned i = 0; i < 2000 && !freed; i++) {
    run();
    if (freed) return;
    while (romeo.open_count > 0) {
      omemo_request number = romeo.open[0].request;
      answered(number, answer(&romeo, &romeo.open[0]));
      take_out(number);
    }
    int64_t timeout = omemo_manager_timeout(romeo.manager);
    if (all_ended() && timeout != 0) return;
    if (timeout > 0) romeo.now += timeout;
  }
  CHECK(freed || all_ended());
}

static void play(uint64_t seed) {
  omemo_config *config;
  random_state = seed * 0x9e3779b97f4a7c15u + 1;
  memset(&romeo, 0, sizeof romeo);
  request_count = operation_count = ended_count = 0;
  inside = online = freed = false;
  romeo.jid = ROMEO;
  romeo.clock = true;
  romeo.now = 1700000000000;
  config = account_config(&romeo);
  CHECK(omemo_config_set_option(config, OMEMO_OPTION_MAX_OPEN_FETCHES, LIMIT) == OMEMO_OK);
  CHECK(omemo_manager_new(config, &romeo.manager) == OMEMO_OK);
  omemo_config_free(config);
  account_connect(&romeo);
  online = true;
  romeo.later = true;
  romeo.in_question = on_question;
  romeo.in_withdrawn = on_gone;
  for (unsigned i = 0; i < STEPS && !freed; i++) {
    between();
    run();
  }
  if (!freed && chance(2)) come_to_an_end();
  if (!freed) {
    inside = freed = true;
    omemo_manager_free(romeo.manager);
    inside = false;
  }
  CHECK(romeo.destroyed == 1);
  for (size_t i = 0; i < operation_count; i++) {
    CHECK(operations[i].ends == (operations[i].done_given ? 1 : 0));
    CHECK(omemo_op_cancel(operations[i].op) == OMEMO_ERR_STALE);
  }
  for (size_t i = 0; i < request_count; i++) {
    CHECK(requests[i].life == ANSWERED || requests[i].life == WITHDRAWN);
    CHECK(omemo_request_resolve(requests[i].question.request) == OMEMO_ERR_STALE);
    if (requests[i].life == WITHDRAWN) withdrawn_total++;
  }
  decided_total += romeo.decided;
  operations_total += (unsigned)operation_count;
  requests_total += (unsigned)request_count;
  forget_open(&romeo);
  free(romeo.sent_to);
  free(romeo.sent_xml);
}

static uint64_t first_seed, games;

static void setting(const char *name, uint64_t *value) {
  const char *text = getenv(name);
  if (text) *value = strtoull(text, NULL, 10);
}

static void set_the_table(void) {
  struct account juliet;
  memset(&juliet, 0, sizeof juliet);
  juliet.jid = JULIET;
  server_wipe();
  account_new(&juliet);
  account_connect(&juliet);
  account_free(&juliet);
  omemo_device_list *list = omemo_device_list_new(world_ns);
  server_put(world_ns, people[2], 0, omemo_device_list_xml(list, NULL));
  for (uint32_t id = 11; id <= 12; id++) CHECK(omemo_device_list_add(list, id, NULL, NULL) == OMEMO_OK);
  server_put(world_ns, people[1], 0, omemo_device_list_xml(list, NULL));
  omemo_device_list_free(list);
}

/* The games are worth something only if a lot happens in them. */
static void much_happened(void) {
  printf("# seeds from %llu, %llu games: %u operations, %u of them cancelled, %u encrypted, %u questions, %u of them "
         "withdrawn, %u about trust, %u freed inside of an event\n",
         (unsigned long long)first_seed, (unsigned long long)games, operations_total, cancelled_total, served_total,
         requests_total, withdrawn_total, decided_total, games_freed_inside);
  if (games < 20) return;
  CHECK(operations_total > 40 * games && cancelled_total > 2 * games);
  CHECK(requests_total > 20 * games && withdrawn_total > 2 * games && games_freed_inside > 0);
}

static void games_of_chance(void) {
  operations_total = cancelled_total = served_total = requests_total = withdrawn_total = decided_total = 0;
  games_freed_inside = 0;
  for (uint64_t seed = first_seed; seed < first_seed + games; seed++) {
    bool failed_before = case_failed;
    case_failed = false;
    set_the_table();
    play(seed);
    if (case_failed) printf("# OMEMO_SEED=%llu OMEMO_GAMES=1\n", (unsigned long long)seed);
    case_failed = case_failed || failed_before;
  }
  much_happened();
}

int main(void) {
  first_seed = 1;
  games = 60;
  setting("OMEMO_SEED", &first_seed);
  setting("OMEMO_GAMES", &games);
  run_in_both("games_of_chance", games_of_chance);
  server_wipe();
  return cases_failed == 0 ? 0 : 1;
}
