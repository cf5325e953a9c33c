// quickstart.cpp - Romeo writes to Juliet and she answers: two accounts in one process, and PEP is a std::map (C++17).
#include <omemo.h>
#include <cstdio>
#include <iostream>
#include <map>
#include <memory>
template <class T, auto release> using Owned = std::unique_ptr<T, std::integral_constant<decltype(release), release>>;
static std::map<std::string, std::string> pep; // JID, namespace, device -> XML; device 0 stands for the device list
static void check(omemo_status status) {       // a callback must not throw: C is in between
  if (status != OMEMO_OK) std::cerr << "quickstart: " << omemo_status_text(status) << "\n", std::terminate();
}
struct Account { // its address is the user_data of the callbacks
  std::string jid;
  Owned<omemo_manager, omemo_manager_free> manager; // the last member is freed first
  static void fetch(void *, omemo_request request, const char *ns, const char *jid, uint32_t device) {
    const std::string &xml = pep[jid + std::string(ns) + std::to_string(device)];
    if (xml.empty()) omemo_request_reject(request, OMEMO_REJECT_NOT_FOUND);
    else omemo_request_resolve_xml(request, xml.data(), xml.size());
  }
  static void put(void *me, omemo_request request, const char *ns, uint32_t device, const char *xml) {
    pep[static_cast<Account *>(me)->jid + ns + std::to_string(device)] = xml;
    omemo_request_resolve(request);
  }
  std::string file() const {
    return "quickstart-" + jid + ".db";
  }
  explicit Account(const char *own) : jid(own) {
    omemo_callbacks on{}; // a question without a callback, as send_message here, is rejected
    on.struct_size = sizeof on;
    omemo_storage *store = nullptr;
    omemo_manager *opened = nullptr;
    on.fetch_device_list = [](auto... question) { fetch(question..., 0); };
    on.fetch_bundle = fetch;
    on.publish_device_list = [](auto me, auto r, auto ns, auto l) { put(me, r, ns, 0, omemo_device_list_xml(l, 0)); };
    on.publish_bundle = [](auto me, auto r, auto ns, auto id, auto b) { put(me, r, ns, id, omemo_bundle_xml(b, 0)); };
    Owned<omemo_config, omemo_config_free> config(omemo_config_new());
    std::remove(file().c_str()); // a client keeps it; here the server forgets everything, too
    check(omemo_storage_sqlite_open(file().c_str(), &store));
    omemo_config_set_jid(config.get(), own); // omemo_manager_new reports the first failure of the setters
    omemo_config_set_storage(config.get(), Owned<omemo_storage, omemo_storage_free>(store).get());
    omemo_config_set_callbacks(config.get(), &on, this, nullptr);
    omemo_config_set_default_trust_level_name(config.get(), OMEMO_TRUST_LEVEL_NAME_TRUSTED);
    check(omemo_manager_new(config.get(), &opened));
    manager.reset(opened);
    check(omemo_manager_connected(opened, OMEMO_CATCH_UP_NONE, nullptr, nullptr, nullptr));
    check(omemo_manager_run(opened)); // every callback answers at once: one run does everything
  }
  ~Account() {
    manager.reset();
    std::remove(file().c_str());
  }
  bool say(Account &to, const char *text) { // encrypts, delivers, and shows what the other account reads
    Owned<omemo_draft, omemo_draft_free> draft(omemo_draft_new());
    omemo_draft_add_recipient(draft.get(), to.jid.c_str());
    omemo_draft_set_body(draft.get(), text);
    omemo_op op = 0;
    check(omemo_manager_encrypt(manager.get(), draft.get(), nullptr, nullptr, &op));
    Owned<omemo_result, omemo_result_free> result(omemo_manager_wait(manager.get(), op, 10000));
    check(omemo_result_status(result.get()));
    omemo_decrypted *out = nullptr;
    check(omemo_manager_decrypt(to.manager.get(), jid.c_str(), nullptr, omemo_result_message(result.get(), 0), &out));
    Owned<omemo_decrypted, omemo_decrypted_free> decrypted(out);
    return omemo_decrypted_action(out) == OMEMO_ACTION_SHOW && std::cout << omemo_decrypted_body(out) << std::endl;
  }
};
int main() {
  Account romeo("romeo@montague.lit"), juliet("juliet@capulet.lit");
  return romeo.say(juliet, "What shall I swear by?") && juliet.say(romeo, "Do not swear at all.") ? 0 : 1;
}
