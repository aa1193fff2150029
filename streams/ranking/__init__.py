"""From the history of a shopper to ranked items: pure functions for the profile stage, the evaluation and the backtest."""
