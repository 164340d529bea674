// Package cluster answers: does a sign-in keep its promises while servers of a NATS cluster die, stop and fill up?
//
// Its tests run three nats-servers on deploy/nats/nats.conf itself, with certificates and users that `sallyport provision`
// makes and streams that `sallyport nats-prepare` makes, three copies of each, and the services as processes of their own,
// two of most. People sign in all the while, some of them with wrong or used codes. Everybody's answers are kept in a
// ledger; at the end it is held against what the store, the audit log and every gateway say.
package cluster
