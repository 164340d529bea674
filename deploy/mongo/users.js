// Users of Sallyport on MongoDB: one for each service, which reads and writes its own database and nothing else, and one
// for the operator's commands. Made by "sallyport mongo-init"; do not edit: make it again with each version, and run it
// as a user who may make users:
//
//   SALLYPORT_PASSWORDS=/etc/sallyport/passwords mongosh "mongodb://root@mongo.example/admin" users.js
//
// The directory holds one file with the password of each user, <user>.password: 20 characters at least. Run again, it
// sets passwords and rights to what is here and there now.
"use strict";
const fs = require("fs");
const users = [
  {"user":"sallyport-auth-gateway","roles":[{"role":"readWrite","db":"sallyport_auth_gateway"}]},
  {"user":"sallyport-totp-svc","roles":[{"role":"readWrite","db":"sallyport_totp_svc"}]},
  {"user":"sallyport-sms-dispatcher","roles":[{"role":"readWrite","db":"sallyport_sms_dispatcher"}]},
  {"user":"sallyport-policy-svc","roles":[{"role":"readWrite","db":"sallyport_policy_svc"}]},
  {"user":"sallyport-operator","roles":[{"role":"readWrite","db":"sallyport_auth_gateway"},{"role":"readWrite","db":"sallyport_totp_svc"},{"role":"readWrite","db":"sallyport_sms_dispatcher"},{"role":"readWrite","db":"sallyport_policy_svc"}]},
];
const dir = process.env.SALLYPORT_PASSWORDS || "/run/secrets/sallyport";
// All passwords are read before anything is changed.
for (const u of users) {
  const file = `${dir}/${u.user}.password`;
  u.pwd = fs.readFileSync(file, "utf8").trim();
  if (u.pwd.length < 20) throw new Error(`${file}: a password has 20 characters at least`);
}
const admin = db.getSiblingDB("admin");
for (const { user, pwd, roles } of users) {
  const rights = { pwd, roles, mechanisms: ["SCRAM-SHA-256"] };
  if (admin.getUser(user) === null) admin.createUser({ user, ...rights });
  else admin.updateUser(user, rights);
  print(`${user}: ${roles.map((r) => r.db).join(", ")}`);
}
