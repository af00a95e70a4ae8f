"""The report: one page of HTML that opens offline, with the answer, the tables, the figures and the samples."""
