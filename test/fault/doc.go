// Package fault answers: does every text message keep its promises when processes die, stop or are lied to?
//
// Its tests run `sallyport infra` and one or two sms-dispatchers as processes of their own, behind relays that see what
// they say to the store and the bus and can stop them in the middle of a sentence, and an SNS endpoint that writes down
// every hand-off and fails as it is told. Everybody keeps a log: the clients what they were told, the endpoint what it
// was given, the relays which attempts were reserved, the store what became of it all. A [Ledger] is these logs side by
// side, and [Ledger.Check] the proof: it knows the invariants, and nothing of how the product keeps them.
//
// The rolling restart runs the whole product instead, each service twice, under [traffic] that signs in.
package fault
