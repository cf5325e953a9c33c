/* The stores of a device, on its table. For tests only: linked with GPL libraries, never installed. */
#ifndef PEER_C_STORE_H
#define PEER_C_STORE_H

#include "peer_c_account.h"

/* Keys of the table. */
#define STORE_IDENTITY "identity"
#define STORE_DEVICE_ID "device_id"

int store_create(struct account *account);
int store_put_number(struct table *table, const char *key, uint32_t number);
/* 0 when there is none. */
uint32_t store_number(const struct table *table, const char *key);
const char *store_pre_key_key(uint32_t id);
const char *store_signed_pre_key_key(uint32_t id);

#endif
