"""The report: one HTML file that shows runs, or a recipe's arms, in any browser."""
