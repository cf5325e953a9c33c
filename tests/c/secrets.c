/* Where secrets and texts must not be: in log lines, in sentences about failures, and in memory once their objects are
 * freed. The last is looked up in the whole memory of the process, so the words that are looked for stand nowhere in
 * this program as they are. */
#define _POSIX_C_SOURCE 200809L
#include "world.h"

#define ROMEO "romeo@montague.example"
#define JULIET "juliet@capulet.example"

/* AddressSanitizer and valgrind keep what is freed, and have more memory than anybody can read. */
static bool memory_can_be_read(void) {
#if defined(__SANITIZE_ADDRESS__)
  return false;
#else
  const char *preloaded = getenv("LD_PRELOAD");
  return !preloaded || !strstr(preloaded, "valgrind");
#endif
}

/* -- words that are only ever put together for a short time -- */

enum { MASK = 0x5a, WORD = 32, WORDS = 300 };

static uint8_t masked[WORDS][WORD];
static size_t word_count, last_found;

static void remember(const uint8_t *word) {
  if (!CHECK(word_count < WORDS)) return;
  for (size_t i = 0; i < WORD; i++) masked[word_count][i] = (uint8_t)(word[i] ^ MASK);
  word_count++;
}

static void wipe(void *memory, size_t size) {
  volatile uint8_t *bytes = memory;
  for (size_t i = 0; i < size; i++) bytes[i] = 0;
}

/* The text of the message: 32 letters and a NUL. */
static void canary(char *text) {
  for (size_t i = 0; i < WORD; i++) text[i] = (char)(masked[0][i] ^ MASK);
  text[WORD] = 0;
}

static void make_canary(void) {
  word_count = 0;
  uint8_t word[WORD];
  uint64_t random = 88172645463325252u;
  for (size_t i = 0; i < WORD; i++) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    word[i] = (uint8_t)('a' + (random >> 40) % 26);
  }
  remember(word);
  wipe(word, sizeof word);
}

/* -- the memory of the process -- */

static bool is_here(const uint8_t *at, const uint8_t *word) {
  for (size_t i = 0; i < WORD; i++)
    if ((at[i] ^ MASK) != word[i]) return false;
  return true;
}

/* How many of the words stand somewhere in memory that can be written. */
static size_t words_in_memory(void) {
  static uint8_t chunk[1 << 16];
  static bool found[WORDS];
  size_t count = 0;
  memset(found, 0, sizeof found);
  FILE *maps = fopen("/proc/self/maps", "r"), *memory = fopen("/proc/self/mem", "rb");
  if (!CHECK(maps && memory)) return 0;
  setvbuf(memory, NULL, _IONBF, 0);
  char line[512];
  while (fgets(line, sizeof line, maps)) {
    unsigned long long from, to;
    char rights[8];
    if (sscanf(line, "%llx-%llx %7s", &from, &to, rights) != 3 || rights[0] != 'r' || rights[1] != 'w') continue;
    if (fseek(memory, (long)from, SEEK_SET) != 0) continue;
    size_t kept = 0; /* of the end of the last chunk: a word may lie across */
    while (from < to) {
      size_t wanted = sizeof chunk - kept;
      if (to - from < wanted) wanted = (size_t)(to - from);
      unsigned long long chunk_at = from - kept;
      size_t got = fread(chunk + kept, 1, wanted, memory);
      if (got == 0) break;
      from += got;
      size_t size = kept + got;
      for (size_t i = 0; i + WORD <= size; i++) {
        unsigned long long at = chunk_at + i, own = (unsigned long long)(uintptr_t)chunk;
        if (at + WORD > own && at < own + sizeof chunk) continue; /* what is being read now */
        for (size_t w = 0; w < word_count; w++)
          if (!found[w] && (chunk[i] ^ MASK) == masked[w][0] && is_here(chunk + i, masked[w])) found[w] = true;
      }
      kept = size < WORD - 1 ? size : WORD - 1;
      memmove(chunk, chunk + size - kept, kept);
    }
    wipe(chunk, sizeof chunk);
  }
  fclose(maps);
  fclose(memory);
  for (size_t w = 0; w < word_count; w++)
    if (found[w]) count++, last_found = w;
  return count;
}

/* -- what is said -- */

static char *said;
static size_t said_size;

static void note(const char *text) {
  if (!text) return;
  size_t size = strlen(text);
  said = need(realloc(said, said_size + size + 2));
  memcpy(said + said_size, text, size);
  said_size += size;
  said[said_size++] = '\n';
  said[said_size] = 0;
}

static void note_line(struct account *account) {
  note(account->line);
}

/* Whether a word was said as it is, in hex, or in base64, or the beginning of it. */
static bool was_said(const uint8_t *word) {
  static const char digits[] = "0123456789abcdef",
                    letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  char plain[13] = "", hex[17] = "", base64[13] = "";
  for (size_t i = 0; i < 8; i++) {
    hex[2 * i] = digits[word[i] >> 4];
    hex[2 * i + 1] = digits[word[i] & 15];
  }
  for (size_t i = 0; i < 3; i++) {
    const uint8_t *three = word + 3 * i;
    base64[4 * i] = letters[three[0] >> 2];
    base64[4 * i + 1] = letters[(three[0] & 3) << 4 | three[1] >> 4];
    base64[4 * i + 2] = letters[(three[1] & 15) << 2 | three[2] >> 6];
    base64[4 * i + 3] = letters[three[2] & 63];
  }
  memcpy(plain, word, 12);
  return (strlen(plain) >= 8 && strstr(said, plain)) || strstr(said, hex) || strstr(said, base64);
}

/* -- the secrets of a store: the seed of the identity, and the private half of each pre key -- */

static void remember_secrets(const struct store *store) {
  size_t before = word_count;
  for (size_t i = 0; i < store->count; i++) {
    const struct record *record = &store->records[i];
    bool account = strcmp(record->key, "v1/account") == 0, own = strncmp(record->key, "v1/own/", 7) == 0;
    if (!account && !own) continue;
    uint8_t tag = account ? 0x2a : 0x12; /* field 5 of one, field 2 of a pair in the other: docs/storage.md */
    for (size_t j = 0; j + 2 + WORD <= record->len; j++) {
      if (record->value[j] != tag || record->value[j + 1] != WORD) continue;
      remember(record->value + j + 2);
      j += 1 + WORD;
      if (account) break;
    }
  }
  CHECK(word_count - before > 100);
}

static void on_kept(void *user_data, omemo_op op, omemo_status status, const omemo_result *result) {
  char **xml = user_data;
  (void)op, (void)status;
  note(omemo_result_detail(result));
  for (size_t i = 0; i < omemo_result_row_count(result); i++) note(omemo_result_row_detail(result, i));
  if (omemo_result_message_count(result) > 0) *xml = copy(omemo_message_xml(omemo_result_message(result, 0), NULL));
}

static char *send_canary(struct account *from, const char *to) {
  char text[WORD + 1], *xml = NULL;
  canary(text);
  omemo_draft *draft = draft_to(to, text);
  wipe(text, sizeof text);
  CHECK(omemo_manager_encrypt(from->manager, draft, on_kept, &xml, NULL) == OMEMO_OK);
  omemo_draft_free(draft);
  settle(from, 0);
  return xml;
}

static bool read_canary(struct account *to, const char *from, const char *xml, bool look) {
  omemo_decrypted *decrypted = NULL;
  CHECK(omemo_manager_decrypt_xml(to->manager, from, NULL, xml, strlen(xml), &decrypted) == OMEMO_OK);
  note(omemo_decrypted_detail(decrypted));
  const char *body = omemo_decrypted_body(decrypted);
  bool read = body && strlen(body) == WORD && is_here((const uint8_t *)body, masked[0]);
  if (look && memory_can_be_read()) CHECK(words_in_memory() > 0); /* who looks for it finds it */
  omemo_decrypted_free(decrypted);
  return read;
}

static void open_account(struct account *account, struct store *store, const char *jid) {
  memset(account, 0, sizeof *account);
  memset(store, 0, sizeof *store);
  account->jid = jid;
  account->in_log = note_line;
  account->storage = store_open(store);
  account_new(account);
  omemo_storage_free(account->storage);
  account->storage = NULL;
}

static struct account romeo, juliet;
static struct store romeo_store, juliet_store;

/* A conversation with all that can go wrong in it. */
static void talk(void) {
  server_wipe();
  make_canary();
  open_account(&romeo, &romeo_store, ROMEO);
  open_account(&juliet, &juliet_store, JULIET);
  account_connect(&romeo);
  account_connect(&juliet);
  remember_secrets(&romeo_store);
  char *xml = send_canary(&romeo, JULIET);
  if (!CHECK(xml != NULL)) return;
  CHECK(read_canary(&juliet, ROMEO, xml, true));
  CHECK(!read_canary(&juliet, ROMEO, xml, false)); /* a duplicate */
  char *payload = strstr(xml, "<payload>");
  if (payload) payload[12] = payload[12] == 'A' ? 'B' : 'A';
  CHECK(!read_canary(&juliet, ROMEO, xml, false));
  CHECK(!read_canary(&romeo, JULIET, xml, false));
  CHECK(!read_canary(&romeo, JULIET, "<encrypted", false));
  free(xml);
  settle(&juliet, 0);
  juliet.level = "a level that nobody knows";
  free(send_canary(&juliet, ROMEO));
  free(send_canary(&romeo, "nobody@verona.example"));
  xml = send_canary(&romeo, JULIET);
  juliet.lost_levels = true; /* decrypts, and logs that nobody knows whether to trust it */
  if (CHECK(xml != NULL)) CHECK(read_canary(&juliet, ROMEO, xml, false) && juliet.lines > 0);
  free(xml);
  juliet.lost_levels = false;
  romeo_store.fail = juliet_store.fail = OMEMO_ERR_STORAGE;
  free(send_canary(&romeo, JULIET));
  romeo_store.fail = juliet_store.fail = OMEMO_OK;
  romeo.later = true; /* a bundle that cannot be published */
  CHECK(omemo_manager_disconnected(romeo.manager) == OMEMO_OK);
  server_wipe();
  CHECK(omemo_manager_connected(romeo.manager, OMEMO_CATCH_UP_NONE, NULL, NULL, NULL) == OMEMO_OK);
  for (int i = 0; i < 6; i++) {
    CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
    for (size_t j = 0; j < romeo.open_count; j++) {
      int32_t reason = is_fetch(&romeo.open[j]) ? OMEMO_REJECT_NOT_FOUND : OMEMO_REJECT_FAILED;
      CHECK(omemo_request_reject(romeo.open[j].request, reason) == OMEMO_OK);
    }
    forget_open(&romeo);
  }
  CHECK(romeo.lines > 0);
}

static void nothing_secret_is_said(void) {
  talk();
  note("");
  CHECK(said_size > 200);
  for (size_t w = 0; w < word_count; w++) {
    uint8_t word[WORD];
    for (size_t i = 0; i < WORD; i++) word[i] = (uint8_t)(masked[w][i] ^ MASK);
    CHECK(!was_said(word));
    wipe(word, sizeof word);
  }
  static const char *const names[] = {"romeo", "juliet", "montague", "capulet", "nobody", "verona"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) CHECK(strstr(said, names[i]) == NULL);
  free(said);
  said = NULL;
  said_size = 0;
  account_free(&romeo);
  account_free(&juliet);
  store_wipe(&romeo_store);
  store_wipe(&juliet_store);
  server_wipe();
}

/* After everything is freed neither the text nor a private key is left. */
static void memory_is_wiped(void) {
  if (!memory_can_be_read()) {
    printf("# not under valgrind or AddressSanitizer, which keep what is freed\n");
    return;
  }
  size_t left = words_in_memory();
  if (!CHECK(left == 0))
    printf("# %zu of %zu secrets are left in memory; the last is number %zu (0: the text, 1: the "
           "seed of the identity, others: pre keys)\n",
           left, word_count, last_found);
}

#define RUN(name) run_in_both(#name, name)

int main(void) {
  RUN(nothing_secret_is_said);
  RUN(memory_is_wiped);
  return cases_failed == 0 ? 0 : 1;
}
