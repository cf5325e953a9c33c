/* Checks a store in an SQLite file and prints what is wrong with it, one line for each finding.
 *
 * Usage: omemo-check FILE. Ends with 0 if there is nothing, 1 if there is something, 2 if the store cannot be checked.
 * Nobody may have the store open meanwhile. Nothing is changed. */
#include <omemo.h>
#include <stdio.h>

int main(int argc, char **argv) {
  omemo_storage *storage = NULL;
  omemo_result *result = NULL;
  FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
  if (!file) { /* opening would create it */
    fprintf(stderr, argc == 2 ? "There is no such file.\n" : "Usage: omemo-check FILE\n");
    return 2;
  }
  fclose(file);
  omemo_status status = omemo_storage_sqlite_open(argv[1], &storage);
  if (status == OMEMO_OK) status = omemo_storage_check(storage, &result);
  if (status != OMEMO_OK) {
    const char *reason = omemo_storage_error(storage);
    fprintf(stderr, "%s: %s\n", omemo_status_name(status), *reason ? reason : omemo_status_text(status));
    omemo_storage_free(storage);
    return 2;
  }
  size_t count = omemo_result_row_count(result);
  for (size_t i = 0; i < count; i++) {
    const char *jid = omemo_result_row_jid(result, i), *ns = omemo_result_row_namespace(result, i);
    printf("%s %lu %s %s: %s\n", jid ? jid : "-", (unsigned long)omemo_result_row_device(result, i), ns ? ns : "-",
           omemo_status_name(omemo_result_row_status(result, i)), omemo_result_row_detail(result, i));
  }
  omemo_result_free(result);
  omemo_storage_free(storage);
  return count == 0 ? 0 : 1;
}
