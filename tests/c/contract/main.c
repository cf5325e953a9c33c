/* One case for each promise of the contract at the top of omemo.h, most with answers inside the callback and later, in
 * order, backwards and shuffled. The topics are files of this folder. */
#include "contract.h"

int main(void) {
  unsigned failed = 0;
  failed += contract_services();
  failed += contract_operations();
  failed += contract_requests();
  failed += contract_events();
  failed += contract_freeing();
  failed += contract_threads();
  failed += contract_structures();
  failed += contract_storage_care();
  failed += contract_messages();
  failed += contract_own_account();
  failed += contract_acknowledged();
  failed += contract_storage();
  return failed == 0 ? 0 : 1;
}
