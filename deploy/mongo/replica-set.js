// Makes the replica set of deploy/compose.yaml and its users; run again, it changes nothing that is right.
//
//   MONGODB_HOSTS=mongodb-1:27017,… mongosh --nodb --quiet replica-set.js
//
// /run/sallyport is what `sallyport provision` has made for MongoDB: the password of the administrator, whom the first member
// makes at its first start, those of all other users, ca.pem and users.js.
const home = "/run/sallyport";
const hosts = process.env.MONGODB_HOSTS.split(",");
const password = require("fs").readFileSync(`${home}/admin.password`, "utf8").trim();
const options = `authSource=admin&tls=true&tlsCAFile=${encodeURIComponent(`${home}/ca.pem`)}`;

// A member that has just started may refuse us for some seconds: it is not there yet, does not know the administrator yet, or
// does not reach the others. What is still so after a minute is wrong.
const patience = Date.now() + 60000;
for (let made = false; !made; ) {
  try {
    db = connect(`mongodb://admin:${password}@${hosts[0]}/admin?directConnection=true&serverSelectionTimeoutMS=5000&${options}`);
    try {
      db.adminCommand({ replSetGetStatus: 1 });
    } catch (e) {
      if (e.codeName !== "NotYetInitialized") throw e;
      db.adminCommand({ replSetInitiate: { _id: "sallyport", members: hosts.map((host, n) => ({ _id: n, host })) } });
    }
    made = true;
  } catch (e) {
    if (Date.now() > patience) throw e;
    sleep(1000);
  }
}

// The members elect; who was elected makes the users.
db = connect(`mongodb://admin:${password}@${hosts.join(",")}/admin?replicaSet=sallyport&serverSelectionTimeoutMS=60000&${options}`);
db.adminCommand({ ping: 1 });
process.env.SALLYPORT_PASSWORDS = home;
load(`${home}/users.js`);
