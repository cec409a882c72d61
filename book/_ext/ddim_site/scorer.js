/* Sphinx's scores, of at most 100 for an entry of the index, with the chapters before the reference. */
var Scorer = {
  score: ([page, , , , score]) => score + (/(^|\/)\d\d_/.test(page) ? 100 : 0),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
